//! Flags, help, usage errors: what every command shares.

use crate::environment::Environment;

#[test]
fn version_in_every_spelling() {
    let env = Environment::new();
    for flag in ["--version", "-V", "-v", "--verbose"] {
        assert_eq!(env.run_expecting(0, &[flag]).stdout, "pcrd 0.1.0\n", "{flag}");
    }
}

#[test]
fn help_is_data_and_shows_the_exit_codes() {
    let env = Environment::new();
    let ran = env.run_expecting(0, &["--help"]);
    assert_eq!(ran.stderr, "");
    for line in [
        "   0  done; with `plan --detailed-exitcode`: no change",
        "   3  blocked by a finding, a failed data check or a preflight check",
        "  64  usage or configuration error",
    ] {
        assert!(ran.stdout.contains(line), "{line}\n{}", ran.stdout);
    }
}

#[test]
fn usage_errors_exit_64() {
    let env = Environment::new();
    for args in [&[][..], &["frobnicate"], &["--no-such-flag"], &["schema", "nothing"], &["--color", "pink", "man"]] {
        let ran = env.run_expecting(64, args);
        assert_eq!(ran.stdout, "", "{args:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_usage_error_is_one_json_object_with_json() {
    let env = Environment::new();
    let ran = env.run_expecting(64, &["--json", "frobnicate"]);
    let error: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    assert_eq!(error["error"]["exit"], 64);
    assert!(error["error"]["message"].as_str().unwrap().contains("frobnicate"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_and_a_reader_that_left_is_not_told() {
    let env = Environment::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = env.command().arg("man").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot write the output"));

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = env.command().args(["schema", "plan"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(1), Vec::new()));
}

#[test]
fn packaging_outputs_are_there() {
    let env = Environment::new();
    assert!(env.run_expecting(0, &["man"]).stdout.contains(".TH pcrd 1"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(env.run_expecting(0, &["completions", shell]).stdout.contains("pcrd"), "{shell}");
    }
    assert_eq!(env.run_expecting(0, &["man", "--dir", "pages"]).stdout, "");
    assert!(env.path().join("pages/pcrd-completions.1").exists());
}
