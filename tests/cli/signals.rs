//! Ctrl-C and SIGTERM, against a server that never answers.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::environment::{CONFIG, Environment};

#[test]
fn a_signal_stops_cleanly_with_exit_6() {
    for signal in ["INT", "TERM"] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let env = Environment::new();
        env.write("pcrd.config.yml", &CONFIG.replacen("127.0.0.1", &format!("127.0.0.1\n  port: {port}"), 1));
        let child = env.command().arg("inspect").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Once it has connected, the handlers are in place.
        let _connection = silent.accept().unwrap();
        let asked = Instant::now();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success()
        );
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(6), "SIG{signal}: {output:?}");
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(String::from_utf8(output.stderr).unwrap().contains("run the same command again"));
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let env = Environment::new();
    env.write("pcrd.config.yml", &CONFIG.replacen("127.0.0.1", &format!("127.0.0.1\n  port: {unused}"), 1));
    let stderr = env.run_expecting(1, &["inspect"]).stderr.replace(&unused.to_string(), "PORT");
    insta::assert_snapshot!(stderr, @"  × source: cannot connect to 127.0.0.1:PORT: Connection refused (os error 111)");
}
