//! What an environment cannot reach.

use std::time::Duration;

use tokio::net::TcpListener;
use upgrade_core::Environment;
use upgrade_core::docker::{Image, Service, Stack};

use super::support::{Fixture, IMAGE, address, api, context, docker, environment, get};

/// What a connection from inside comes to.
async fn ask(environment: &dyn Environment, host: &str, port: u16) -> String {
    let path = format!("/ask/{host}/{port}");
    get(&address(environment, "api"), &path).await.unwrap()
}

/// A container of somebody else, on the engine's own network, which everything that has a way out
/// can reach. It prints what it receives.
struct Outsider {
    name: String,
    ip: String,
}

const LISTEN: &str = r#"
use Socket; $| = 1;
socket(my $tcp, PF_INET, SOCK_STREAM, 0); bind($tcp, sockaddr_in(7000, INADDR_ANY)); listen($tcp, 9);
socket(my $udp, PF_INET, SOCK_DGRAM, 0); bind($udp, sockaddr_in(7000, INADDR_ANY));
if (fork) { while (accept(my $client, $tcp)) { print "connection\n"; close $client } }
else { while (recv($udp, my $text, 99, 0)) { print "datagram $text\n" } }"#;

impl Outsider {
    fn start() -> Self {
        let name = format!("upgrade-outsider-{}", std::process::id());
        docker(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--entrypoint",
            "perl",
            IMAGE,
            "-e",
            LISTEN,
        ]);
        let ip = docker(&[
            "inspect",
            "--format",
            "{{.NetworkSettings.IPAddress}}",
            &name,
        ]);
        Self { name, ip }
    }

    fn received(&self) -> String {
        docker(&["logs", &self.name])
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.name]);
    }
}

/// A container's program that sends a datagram and asks for a connection.
fn knock(ip: &str, text: &str) -> String {
    format!(
        r#"use Socket; use IO::Socket::INET; $| = 1;
        socket(my $udp, PF_INET, SOCK_DGRAM, 0);
        send($udp, "{text}", 0, sockaddr_in(7000, inet_aton("{ip}"))) for 1..3;
        IO::Socket::INET->new(PeerAddr => "{ip}", PeerPort => 7000, Timeout => 1);
        print "knocked\n"; sleep 600"#
    )
}

fn knocker(ip: &str, text: &str) -> Service {
    let mut service = Service::new(Image::named(IMAGE));
    service.entrypoint = Some(vec!["perl".into(), "-e".into()]);
    service.command = Some(vec![knock(ip, text)]);
    service
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn no_packet_leaves() {
    let (fixture, cx) = (Fixture::new(), context());
    let outsider = Outsider::start();
    let environment = fixture.environment().with_release(
        "1",
        Stack::new().with_service("api", knocker(&outsider.ip, "inside")),
    );
    environment.prepare(&cx).await.unwrap();
    loop {
        let logs = environment.logs(&cx, 5).await.unwrap();
        if logs[0].lines.iter().any(|line| line == "knocked") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // poll
    }
    // The same program on a network with a way out: what it sends arrives, so that what did not
    // would have been seen.
    let program = knock(&outsider.ip, "outside").replace("sleep 600", "1");
    docker(&["run", "--rm", "--entrypoint", "perl", IMAGE, "-e", &program]);
    let seen = loop {
        let received = outsider.received();
        if received.contains("datagram") && received.contains("connection") {
            break received;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // poll
    };
    assert!(!seen.contains("inside"), "{seen}");
    assert_eq!(seen.matches("connection").count(), 1, "{seen}");
    environment.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn nothing_outside_can_be_reached_but_what_is_allowed() {
    let (fixture, cx) = (Fixture::new(), context());
    // A server of this machine stands for one outside: it has a name.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim();
    let outside = TcpListener::bind((name, 0)).await.unwrap();
    let port = outside.local_addr().unwrap().port();

    let closed = fixture
        .environment()
        .with_release("1", Stack::new().with_service("api", api("1")));
    closed.prepare(&cx).await.unwrap();
    for host in ["1.1.1.1", "192.0.2.1"] {
        let answer = ask(&closed, host, port).await;
        assert!(answer.starts_with("refused"), "{host}: {answer}");
    }
    for host in [name, "example.com"] {
        let answer = ask(&closed, host, port).await;
        assert!(answer.contains("Bad hostname"), "{host} resolves: {answer}");
    }

    let open = fixture
        .environment()
        .with_release("1", Stack::new().with_service("api", api("1")))
        .with_allowed(name, port);
    open.prepare(&cx).await.unwrap();
    assert!(ask(&open, name, port).await.starts_with("connected"));
    let (_, from) = outside.accept().await.unwrap();
    assert!(
        from.ip().is_loopback(),
        "through the relay, not from a container: {from}"
    );
    let answer = ask(&open, "1.1.1.1", port).await;
    assert!(!answer.contains("connected"), "{answer}");

    open.teardown(&cx).await.unwrap();
    closed.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn two_environments_have_the_same_ports_and_share_nothing() {
    let (fixture, cx) = (Fixture::new(), context());
    let (one, two) = (environment(&fixture), environment(&fixture));
    let (first, second) = tokio::join!(one.prepare(&cx), two.prepare(&cx));
    first.unwrap();
    second.unwrap();
    let addresses = [address(&one, "api"), address(&two, "api")];
    assert_ne!(addresses[0], addresses[1]);
    assert!(
        addresses.iter().all(|address| address.ends_with(":8080")),
        "{addresses:?}"
    );
    // The other one's host name is no name here, and its containers have no address here.
    let other = get(&addresses[1], "/").await.unwrap();
    let host = other.split(' ').nth(1).unwrap();
    assert!(ask(&one, host, 8080).await.contains("refused"));
    one.teardown(&cx).await.unwrap();
    assert_eq!(
        &get(&addresses[1], "/").await.unwrap(),
        &other,
        "the other one lives"
    );
    two.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}

/// Prints the first line that a server sends, or that it sent none.
const READ: &str = r#"use IO::Socket::INET;
my $server = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 3);
my $line = $server ? <$server> : undef; print $line // "nothing""#;

/// The kernel takes what comes from any network for an address of the machine: the relay itself
/// has to know its own.
#[tokio::test]
#[ignore = "needs Docker"]
async fn another_environments_relay_cannot_be_used() {
    let (fixture, cx) = (Fixture::new(), context());
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim();
    let outside = TcpListener::bind((name, 0)).await.unwrap();
    let port = outside.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = outside.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client, b"outside\n").await;
        }
    });
    let open = fixture
        .environment()
        .with_release("1", Stack::new().with_service("open", api("1")))
        .with_allowed(name, port);
    open.prepare(&cx).await.unwrap();
    let closed = fixture
        .environment()
        .with_release("1", Stack::new().with_service("closed", api("1")));
    closed.prepare(&cx).await.unwrap();
    let left = fixture.left().await;
    let found = |part: &str| {
        let name = left.iter().find(|name| name.contains(part)).unwrap();
        name.trim_start_matches('/').to_owned()
    };
    let network = found("-out-0");
    let gateway = docker(&[
        "network",
        "inspect",
        "--format",
        "{{(index .IPAM.Config 0).Gateway}}",
        &network,
    ]);
    let port = port.to_string();
    let read = |container: &str| {
        let container = found(container);
        let arguments = ["exec", &container, "perl", "-e", READ, &gateway, &port];
        let arguments = arguments.map(str::to_owned);
        tokio::task::spawn_blocking(move || docker(&arguments.each_ref().map(String::as_str)))
    };
    assert_eq!(read("-open-").await.unwrap(), "outside");
    assert_eq!(read("-closed-").await.unwrap(), "nothing");
    open.teardown(&cx).await.unwrap();
    closed.teardown(&cx).await.unwrap();
    fixture.assert_nothing_is_left().await;
}
