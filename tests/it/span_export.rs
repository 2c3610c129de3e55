//! How spans come to their collector: over TLS, and what becomes of them while it is away.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use identity_tests::{
    certificates::Authority,
    collector::Collector,
    faults::Proxy,
    locks::eventually,
    metrics::Exposed,
    world::{Settings, World},
};
use roster_stack::{ports::free_port, services::Service};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_nobody_up() {
    let nobody = free_port().unwrap();
    let endpoint = vec![(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://127.0.0.1:{nobody}"),
    )];
    let world = World::with(Settings::for_both(endpoint)).await;
    let acme = world.acme().await;
    let begun = Instant::now();
    for n in 0..20 {
        acme.scim.make_user(&format!("m{n}@acme.example")).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_are_lost_are_counted_and_told_of_once() {
    let collector = Collector::start().await.unwrap();
    let proxy = Proxy::before(collector.port()).await;
    let endpoint = format!("http://127.0.0.1:{}", proxy.port());
    let world = World::exporting(&collector, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let both = [&world.identity, &world.facade];
    let exported = "otel_sdk_exporter_span_exported_total";
    // From the start, so that the first loss is an increase.
    for service in both {
        let exposed = Exposed::of(service).await;
        for (name, error_type) in [
            (exported, "failed"),
            (exported, "timeout"),
            ("otel_sdk_processor_span_processed_total", "queue_full"),
        ] {
            let mut samples = exposed.samples().filter(|sample| sample.name == name);
            let found = samples.find(|sample| {
                sample.labels.get("error_type").map(String::as_str) == Some(error_type)
            });
            assert!(found.is_some_and(|sample| sample.value < 0.5), "{name}");
        }
    }
    let acme = world.acme().await;
    let told = |service: &Service, what: &str| {
        let log = fs::read_to_string(service.log()).unwrap();
        log.lines().filter(|line| line.contains(what)).count()
    };
    let answer = acme.scim.get("/Users?count=1").await.is(200);
    assert_eq!(collector.trace(answer.trace_id(), 8).await.len(), 8);

    proxy.cut();
    acme.scim.make_user("ann@acme.example").await;
    eventually("both tell that spans are lost", || {
        both.map(|service| told(service, "spans can't be sent")) == [1, 1]
    })
    .await;
    proxy.mend();
    let again = || both.map(|service| told(service, "spans are sent again"));
    // There must be something to send.
    for _ in 0..300 {
        acme.scim.get("/Users?count=1").await.is(200);
        if again() == [1, 1] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(again(), [1, 1]);
    for service in both {
        let exposed = Exposed::of(service).await;
        let lost = exposed.sum(exported, &[("error_type", "failed")]);
        assert!(lost > 0.5, "{}", service.name());
        assert!(exposed.sum(exported, &[]) > 0.5);
        assert_eq!(told(service, "spans can't be sent"), 1);
        let log = fs::read_to_string(service.log()).unwrap();
        let line = log.lines().find(|line| line.contains("sent again"));
        assert!(
            line.unwrap().contains(&format!("lost={lost}")),
            "{line:?} {lost}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_before_a_process_ends() {
    let collector = Collector::start().await.unwrap();
    // The facade has too few for a message of them to be full, and waits longer than this test takes.
    let world = World::exporting(&collector, &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]).await;
    let acme = world.bare_site("acme").await;
    let answer = acme.scim.get("/Users?count=1").await.is(200);
    assert!(collector.trace(answer.trace_id(), 0).await.len() < 8);
    tokio::task::block_in_place(|| {
        world.facade.stop();
        world.identity.stop();
    });
    assert_eq!(collector.trace(answer.trace_id(), 8).await.len(), 8);
}

/// A port before another that speaks TLS, by the name of 127.0.0.1.
async fn over_tls(authority: &Authority, target: u16) -> u16 {
    let certified = authority.server();
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certified.pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_go_to_a_collector_that_speaks_tls() {
    let collector = Collector::start().await.unwrap();
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authorities.pem");
    fs::write(&file, &authority.pem).unwrap();
    let port = over_tls(&authority, collector.port()).await;
    let world = World::exporting(
        &collector,
        &[
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("https://127.0.0.1:{port}"),
            ),
            // What takes the place of the system's authorities.
            ("SSL_CERT_FILE", &file.display().to_string()),
        ],
    )
    .await;
    let acme = world.bare_site("acme").await;
    let answer = acme.scim.get("/Users?count=1").await.is(200);
    assert_eq!(collector.trace(answer.trace_id(), 8).await.len(), 8);
}
