//! Key pairs.

use serde_json::json;
use ssh_key::{PrivateKey, PublicKey};

use crate::{
    cloud::Cloud,
    identity::Who::{Admin, Member, Reader},
};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL8AbN6Ysr+aCF7rQsz+h2bG0pJV1YIRg4fIvP0Iea7W";

#[tokio::test(start_paused = true)]
async fn a_key_is_brought_shown_and_deleted() {
    let cloud = Cloud::still().await;
    let body = json!({"keypair": {"name": "k1", "public_key": KEY}});
    let answer = cloud.send_at("2.10", Member, "POST /os-keypairs", body.clone()).await;
    assert_eq!(
        answer.is(201).json()["keypair"],
        json!({
            "name": "k1", "public_key": KEY, "type": "ssh", "user_id": Member.user(),
            // As `ssh-keygen -l -E md5` prints it.
            "fingerprint": "30:e8:96:98:7a:cb:c2:1a:f8:c9:95:ce:61:b6:db:f1",
        })
    );
    let again = cloud.send_at("2.10", Member, "POST /os-keypairs", body).await;
    again.is_error(409, "Key pair 'k1' already exists.");
    let listed = cloud.get(Member, "/os-keypairs").await;
    assert_eq!(listed["keypairs"][0]["keypair"]["name"], "k1");
    cloud.send_at("2.10", Member, "DELETE /os-keypairs/k1", ()).await.is(204);
    let gone = cloud.send_at("2.10", Member, "GET /os-keypairs/k1", ()).await;
    gone.is_error(404, &format!("Keypair k1 not found for user {}", Member.user()));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_made_here_fits_its_public_half() {
    let cloud = Cloud::still().await;
    let body = json!({"keypair": {"name": "k1"}});
    let answer = cloud.send_at("2.2", Member, "POST /os-keypairs", body.clone()).await;
    let made = answer.is(201).json()["keypair"].clone();
    let private = PrivateKey::from_openssh(made["private_key"].as_str().expect("a key"));
    let public = PublicKey::from_openssh(made["public_key"].as_str().expect("a key"));
    assert_eq!(private.expect("a private key").public_key(), &public.expect("a public key"));
    let answer = cloud.send_at("2.92", Member, "POST /os-keypairs", body).await;
    answer.is(400);
}

#[tokio::test(start_paused = true)]
async fn key_pairs_belong_to_their_user() {
    let cloud = Cloud::still().await;
    let body = json!({"keypair": {"name": "k1", "public_key": KEY}});
    cloud.send(Member, "POST /os-keypairs", body).await.is(201);
    let others = format!("GET /os-keypairs?user_id={}", Member.user());
    cloud
        .send(Reader, &others, ())
        .await
        .is_error(403, "Policy doesn't allow os_compute_api:os-keypairs:index to be performed.");
    let listed = cloud.send(Admin, &others, ()).await;
    assert_eq!(listed.is(200).json()["keypairs"][0]["keypair"]["name"], "k1");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_key_is_refused() {
    let cloud = Cloud::still().await;
    let body = json!({"keypair": {"name": "k1", "public_key": "ssh-rsa nonsense"}});
    let answer = cloud.send(Member, "POST /os-keypairs", body).await;
    answer.is_error(400, "Keypair data is invalid: failed to generate fingerprint");
}

#[tokio::test(start_paused = true)]
async fn one_key_pair_too_many_is_refused() {
    let cloud = Cloud::still().await;
    cloud.quota(Member.project(), |quota| quota.key_pairs = 0).await;
    let body = json!({"keypair": {"name": "k1", "public_key": KEY}});
    let answer = cloud.send(Member, "POST /os-keypairs", body).await;
    answer.is_error(403, "Quota exceeded, too many key pairs.");
}
