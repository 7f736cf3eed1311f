//! `dev/docker-compose.yml` is run by nobody here: at least it is YAML, and says what the demo and the scripts say.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    image: String,
    ports: Vec<String>,
    environment: BTreeMap<String, String>,
    command: Vec<String>,
    healthcheck: Healthcheck,
}

#[derive(Debug, Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_compose_file_is_what_the_demo_is() {
    let text = file("dev/docker-compose.yml");
    let compose: Compose = serde_yaml::from_str(&text).unwrap();
    let names: Vec<&str> = compose.services.keys().map(String::as_str).collect();
    assert_eq!(names, ["source_db", "target_db"]);
    let (source, target) = (&compose.services["source_db"], &compose.services["target_db"]);
    // dev/demo goes from 15 to the newest major that it fetches.
    let demo = file("dev/demo");
    assert!(demo.contains("missing=(18)") && demo.contains("missing+=(15)"), "{demo}");
    assert_eq!((source.image.as_str(), target.image.as_str()), ("postgres:15", "postgres:18"));
    assert_eq!(source.ports, ["127.0.0.1:5433:5432"]);
    assert_eq!(target.ports, ["127.0.0.1:5434:5432"]);
    assert!(file("src/demo/clusters.rs").contains("FIRST_PORT: u16 = 5433;"));
    let local = file("dev/postgres");
    for service in [source, target] {
        let database = &service.environment["POSTGRES_DB"];
        assert!(file("src/demo/settings.rs").contains(&format!("  database: {database}\n  user: postgres\n")));
        assert!(service.healthcheck.test.windows(2).any(|pair| pair == ["-d", database.as_str()]), "{service:?}");
        let (program, settings) = service.command.split_first().unwrap();
        assert_eq!(program, "postgres");
        let settings: BTreeMap<&str, &str> =
            settings.iter().map(|setting| setting.strip_prefix("-c").unwrap().split_once('=').unwrap()).collect();
        for (name, value) in &settings {
            assert!(local.contains(&format!("\n{name} = {value}\n")), "dev/postgres sets {name} otherwise");
        }
        assert_eq!(settings["wal_level"], "logical");
        // The header is all that a reader gets.
        let head = text.split("x-server:").next().unwrap();
        for said in ["5433", "5434", database, &service.environment["POSTGRES_PASSWORD"], "not part of CI"] {
            assert!(head.contains(said), "the header does not say `{said}`");
        }
    }
}
