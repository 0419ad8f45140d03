use crate::{cloud::{Cloud, server_body}, identity::Who::Member};
#[tokio::test(start_paused = true)]
async fn measure() {
    let cloud = Cloud::running().await;
    cloud.quota(Member.project(), |q| { q.instances = -1; q.cores = -1; q.ram_mib = -1; }).await;
    let id = cloud.active_server(Member, "web").await;
    let row = cloud.rows::<updraft_compute::rows::ServerRow>().remove(0);
    let _ = id;
    for i in 0..999 {
        let mut r = row.clone();
        r.id = cloud.env.uuid();
        r.name = format!("web-{i}");
        cloud.write(|txn| txn.put(&r)).await;
    }
    println!("row bytes {}", serde_json::to_vec(&row).unwrap().len());
    for _ in 0..5 {
        let t = std::time::Instant::now();
        let rows = cloud.store.read(|txn| txn.find::<updraft_compute::rows::ServerRow>("project", Member.project())).await.unwrap();
        println!("list find: {:?} {}", t.elapsed(), rows.len());
        let t = std::time::Instant::now();
        let raw = cloud.store.read(|txn| Ok::<_, updraft_runtime::store::StoreError>(txn.scan_raw("compute/server/", None, 5000)?)).await.unwrap();
        println!("list raw scan: {:?} {}", t.elapsed(), raw.len());
        let t = std::time::Instant::now();
        let n = raw.iter().map(|(_, e)| serde_json::from_slice::<updraft_compute::rows::ServerRow>(&e.value).unwrap()).count();
        println!("list decode: {:?} {n}", t.elapsed());
        let t = std::time::Instant::now();
        let n = raw.iter().map(|(_, e)| serde_json::from_slice::<serde::de::IgnoredAny>(&e.value).unwrap()).count();
        println!("list skip: {:?} {n}", t.elapsed());
        let t = std::time::Instant::now();
        drop(rows);
        println!("list drop: {:?}", t.elapsed());
    }
    for who in [Member, crate::identity::Who::Admin] {
    for _ in 0..5 {
        let t = std::time::Instant::now();
        let a = cloud.send(who, "GET /servers/detail", ()).await;
        println!("{:?} list 1000: {:?} {} bytes", who, t.elapsed(), a.text.len());
    }}
    for _ in 0..5 {
        let t = std::time::Instant::now();
        cloud.send(Member, "POST /servers", server_body("x")).await.is(202);
        println!("post: {:?}", t.elapsed());
    }
}
