//! The store of a cloud: looked into, saved, put back, and moved into a database.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::{
    cloud::{Client, Machine, Said, run},
    postgres::Database,
};

/// A folder for files of a test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn list(machine: &Machine, prefix: &str) -> String {
    let said = machine.run(&["db", "list", prefix]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out
}

async fn assert_has_flavor(client: &Client) {
    let listed = client.must("GET", "/compute/v2.1/flavors", Value::Null).await;
    let flavors = listed["flavors"].as_array().unwrap();
    assert!(flavors.iter().any(|flavor| flavor["name"] == "f"), "{listed}");
}

#[tokio::test]
async fn a_backup_of_a_running_cloud_is_put_back_elsewhere() {
    let (machine, other, files) = (Machine::new(), Machine::new(), folder());
    assert_eq!(machine.up().code, Some(0));
    machine.client().await.furnish().await;
    let file = files.path().join("cloud.jsonl");
    let path = file.to_str().unwrap();
    let said = machine.run(&["db", "backup", path]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let said = machine.run(&["db", "backup", path]);
    assert!(said.code == Some(1) && said.err.contains("exists"), "{said:?}");
    assert_eq!(list(&machine, "compute/flavor/f"), "compute/flavor/f\n");
    assert_eq!(machine.run(&["down"]).code, Some(0));

    let said = other.run(&["db", "restore", path]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(list(&other, "compute/flavor/"), list(&machine, "compute/flavor/"));
    let said = other.run(&["db", "restore", path]);
    assert!(said.code == Some(1) && said.err.contains("holds a cloud already"), "{said:?}");
    assert_eq!(other.up().code, Some(0));
    assert_has_flavor(&other.client().await).await;
}

#[tokio::test]
async fn a_row_is_shown_while_the_cloud_runs_and_when_it_does_not() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    machine.client().await.furnish().await;
    let show = || {
        let said = machine.run(&["db", "show", "compute/flavor/f"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        serde_json::from_str::<Value>(&said.out).unwrap()
    };
    let running = show();
    assert!(running.to_string().contains(r#""name":"f""#), "{running}");
    let said = machine.run(&["db", "show", "compute/flavor/none"]);
    assert!(said.code == Some(1) && said.err.contains("there is no row"), "{said:?}");
    let every = list(&machine, "");
    assert!(every.contains("compute/flavor/f\n") && every.contains("identity/"), "{every}");
    let refused =
        machine.client().await.ask("GET", "/updraft/v1/database?rows=", Value::Null).await;
    assert_eq!(refused.status, 400);
    assert_eq!(machine.run(&["down"]).code, Some(0));
    assert_eq!(show(), running);
}

#[tokio::test]
async fn half_a_backup_is_not_put_back() {
    let (machine, other, files) = (Machine::new(), Machine::new(), folder());
    assert_eq!(machine.up().code, Some(0));
    let file = files.path().join("cloud.jsonl");
    let path = file.to_str().unwrap();
    assert_eq!(machine.run(&["db", "backup", path]).code, Some(0));
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let said = other.run(&["db", "restore", path]);
    assert!(said.code == Some(1) && said.err.contains("not whole"), "{said:?}");
    assert!(!other.data_dir().join("control.redb").exists());
    fs::write(&file, &whole).unwrap();
    assert_eq!(other.run(&["db", "restore", path]).code, Some(0));
}

#[tokio::test]
async fn only_an_administrator_reads_the_store() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let user = serde_json::json!({"user": {"name": "u", "password": "pw"}});
    let user = client.must("POST", "/identity/v3/users", user).await;
    let roles = client.must("GET", "/identity/v3/roles?name=member", Value::Null).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (user, role) = (text(&user["user"]["id"]), text(&roles["roles"][0]["id"]));
    let project = client.project().await;
    let grant = format!("/identity/v3/projects/{project}/users/{user}/roles/{role}");
    client.must("PUT", &grant, Value::Null).await;
    let auth = serde_json::json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}},
        "scope": {"project": {"id": project}}}});
    let logged_in = machine.raw("POST /identity/v3/auth/tokens", &[], &auth.to_string()).unwrap();
    let token = logged_in.lines().find_map(|line| line.strip_prefix("x-subject-token: ")).unwrap();
    for (token, status) in [(token, "403"), ("", "401")] {
        let headers = [("x-auth-token", token)];
        let answer = machine.raw("GET /updraft/v1/database", &headers, "").unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn rows_of_a_newer_program_are_refused_in_words() {
    use updraft_runtime::{Env, store::Store};

    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    assert_eq!(machine.run(&["down"]).code, Some(0));
    let store = Store::redb(Env::real(), &machine.data().path("control.redb")).await.unwrap();
    let mut newer = store.begin().await.unwrap();
    newer.put_raw("membership/schema", "{\"version\":3}".into()).unwrap();
    newer.delete_raw("membership/cloud/cloud").unwrap();
    newer.commit().await.unwrap();
    store.close().await;
    let said = machine.up();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("rows of membership have version 3"), "{said:?}");
    assert_eq!(
        list(&machine, "membership/cloud/"),
        "",
        "nothing is written into rows of another version"
    );
}

/// The database as a setting has it.
pub(crate) fn url(database: &Database) -> String {
    let socket = database.server.directory().to_str().unwrap().replace('/', "%2F");
    format!("postgresql://postgres@{socket}/{}", database.name())
}

fn up_in(machine: &Machine, url: &str) -> Said {
    let mut command = machine.up_command();
    command.args(["--database-url", url]);
    run(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_moves_into_a_database_and_goes_on_there() {
    let Some(database) = Database::fresh().await else { return };
    let (machine, url) = (Machine::new(), url(&database));
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let made = client.furnish().await;
    client.create(&made, "before").await.unwrap();
    client.all_run(&machine).await;
    let moving = ["db", "move", "--database-url", &url];
    let said = machine.run(&moving);
    assert!(said.code == Some(4) && said.err.contains("in use"), "{said:?}");
    assert_eq!(machine.run(&["down"]).code, Some(0));
    let rows = list(&machine, "");
    let said = machine.run(&moving);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(list(&machine, ""), rows);

    let said = machine.up();
    assert!(said.code == Some(1) && said.err.contains("--database-url"), "{said:?}");
    let said = up_in(&machine, &url);
    assert_eq!(said.code, Some(0), "{said:?}");
    let client = machine.client().await;
    client.create(&made, "after").await.unwrap();
    client.all_run(&machine).await;
    assert_eq!(client.servers().await.len(), 2);
    machine.kill("control").await;
    assert_eq!(up_in(&machine, &url).code, Some(0));
    assert_eq!(machine.client().await.servers().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_begins_in_a_database_and_its_backup_is_put_back_into_another() {
    let Some(database) = Database::fresh().await else { return };
    let another = database.server.database().await;
    let (machine, other, files) = (Machine::new(), Machine::new(), folder());
    let said = up_in(&machine, &url(&database));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!machine.data_dir().join("control.redb").exists());
    machine.client().await.furnish().await;
    let file = files.path().join("cloud.jsonl");
    let path = file.to_str().unwrap();
    assert_eq!(machine.run(&["db", "backup", path]).code, Some(0));
    let said = other.run(&["db", "restore", path, "--database-url", &url(&another)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(up_in(&other, &url(&another)).code, Some(0));
    assert_has_flavor(&other.client().await).await;
    assert_eq!(other.run(&["down"]).code, Some(0));
    let said = other.run(&["status"]);
    assert!(said.out.contains("control  does not run"), "{said:?}");
}
