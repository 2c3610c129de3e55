//! Clients that connect and then take their time hold nothing for ever, and nobody else up.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use identity_tests::{
    scim::user,
    world::{Settings, World},
};
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_do_not_come_end_the_connection_and_hold_nobody_up() {
    let world = World::with(Settings {
        facade: vec![("ROSTER_HEADER_TIMEOUT_MS", "1000".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", world.facade.port())).unwrap();
            stream
                .write_all(b"GET /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                .unwrap();
            stream
        })
        .collect();
    acme.scim.get("/Users").await.is(200);
    let begun = Instant::now();
    for stream in &mut slow {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut said = Vec::new();
        // Closed with or without a word; a connection that stays open runs into our own timeout.
        stream.read_to_end(&mut said).unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(8));
    acme.scim.get("/Users").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_refused_in_time() {
    let world = World::with(Settings {
        facade: vec![("ROSTER_BODY_TIMEOUT_MS", "500".to_owned())],
        ..Settings::default()
    })
    .await;
    let acme = world.acme().await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", world.facade.port())).unwrap();
    stream
        .write_all(
            b"POST /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"schemas\":",
        )
        .unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("application/scim+json"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(3));
    acme.scim.get("/Users").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_requests_and_not_for_connections() {
    let world = World::start().await;
    let acme = world.acme().await;
    let half = |text: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", world.facade.port())).unwrap();
        stream.write_all(text).unwrap();
        stream
    };
    let _slow = [
        half(b"GET /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        half(b"GET"),
        half(b""),
    ];
    let lock = world.database.lock_site(&acme.id);
    let write = tokio::spawn({
        let scim = acme.scim.clone();
        async move { scim.post("/Users", &user("a@acme.example")).await }
    });
    world.database.wait_until_waiting(1).await;
    world.facade.signal(Signal::SIGTERM);
    // Longer than the last answers get for their way out.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(world.facade.ended().is_none());
    lock.release();
    write.await.unwrap().is(201);
    let answered = Instant::now();
    let status = loop {
        if let Some(status) = world.facade.ended() {
            break status;
        }
        assert!(answered.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(status.success());
}
