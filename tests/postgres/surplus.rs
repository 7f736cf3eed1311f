//! A role with more rights than docs/rights.md asks for is told each of them, in one script that takes them away; what
//! is left carries the whole path.

use tokio_postgres::Client;

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, text};

const MOVER: &str = "the \"mover\"";
const QUOTED: &str = "\"the \"\"mover\"\"\"";

struct Scene {
    pair: TestPair,
    source: Client,
    target: Client,
    migration: Migration,
}

/// A role with the documented rights, on both ends.
async fn scene(majors: (u32, u32)) -> Scene {
    let pair = TestPair::start(majors.0, majors.1);
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, "CREATE DATABASE shop").await;
    }
    let (source, target) = (connect_to(&pair.source, "shop").await, connect_to(&pair.target, "shop").await);
    let ddl = "CREATE ROLE app_owner; CREATE SCHEMA app AUTHORIZATION app_owner; SET ROLE app_owner; \
        CREATE TABLE app.items (id integer PRIMARY KEY, t text); CREATE TABLE app.other (id integer); \
        INSERT INTO app.items SELECT g FROM generate_series(1, 100) g; RESET ROLE";
    run(&source, ddl).await;
    run(
        &source,
        &format!(
            "CREATE ROLE {QUOTED} LOGIN REPLICATION; GRANT CREATE ON DATABASE shop TO {QUOTED}; GRANT app_owner TO {QUOTED}"
        ),
    )
    .await;
    run(&target, &format!("CREATE ROLE {QUOTED} LOGIN; GRANT CREATE ON DATABASE shop TO {QUOTED}")).await;
    if majors.1 >= 15 {
        run(&target, &format!("GRANT SET ON PARAMETER session_replication_role TO {QUOTED}")).await;
    } else {
        run(&target, &format!("ALTER ROLE {QUOTED} SUPERUSER CREATEDB")).await;
    }
    let end = |port: u16| serde_json::json!({"host": "127.0.0.1", "port": port, "database": "shop", "user": MOVER});
    let config = serde_json::json!({
        "source": end(pair.source.port()), "target": end(pair.target.port()),
        "migrate": {"checkpoint_db": "./state.sqlite3", "tables": [{"name": "app.items", "columns": {"id": {"type": "bigint"}}}]},
        "cutover": {"fence_timeout": 60},
    });
    let migration = Migration { dir: tempfile::tempdir().unwrap(), environment: Vec::new() };
    std::fs::write(migration.dir.path().join("pcrd.config.yml"), config.to_string()).unwrap();
    Scene { pair, source, target, migration }
}

impl Scene {
    /// What `plan` says beside the plan.
    fn said(&self) -> String {
        let planned = self.migration.run(&["plan", "--out", "plan.json"]);
        let said = String::from_utf8_lossy(&planned.stderr).into_owned();
        assert!(planned.status.success(), "{said}");
        said
    }

    /// The script that takes rights away: the statements of the source, and of the target.
    fn script(said: &str) -> (Vec<&str>, Vec<&str>) {
        let script =
            said.split_once("to see what is still missing:\n").unwrap_or_else(|| panic!("no script: {said}")).1;
        let statements = |end: &str| -> Vec<&str> {
            let after = script.split_once(&format!("-- on the {end}\n")).map_or("", |(_, after)| after);
            after.lines().take_while(|line| line.ends_with(';')).map(|line| line.trim_end_matches(';')).collect()
        };
        (statements("source"), statements("target"))
    }
}

async fn told_and_taken_away(majors: (u32, u32)) {
    let scene = scene(majors).await;
    let said = scene.said();
    assert!(!said.contains("superfluous_right") && !said.contains("superuser]"), "{said}");

    let mut expected_source = vec![
        format!("ALTER ROLE {QUOTED} NOCREATEDB"),
        format!("ALTER ROLE {QUOTED} NOCREATEROLE"),
        format!("ALTER ROLE {QUOTED} NOBYPASSRLS"),
        format!("REVOKE \"Reporting\" FROM {QUOTED}"),
        format!("REVOKE ALL ON TABLE \"public\".\"Far\" FROM {QUOTED}"),
    ];
    let mut expected_target = vec![
        format!("ALTER ROLE {QUOTED} NOCREATEDB"),
        format!("ALTER ROLE {QUOTED} NOCREATEROLE"),
        format!("ALTER ROLE {QUOTED} NOBYPASSRLS"),
        format!("ALTER ROLE {QUOTED} NOREPLICATION"),
        format!("REVOKE \"Reporting\" FROM {QUOTED}"),
        format!("REVOKE \"pg_signal_backend\" FROM {QUOTED}"),
    ];
    for (client, major, expected) in
        [(&scene.source, majors.0, &mut expected_source), (&scene.target, majors.1, &mut expected_target)]
    {
        run(client, &format!("ALTER ROLE {QUOTED} CREATEDB CREATEROLE BYPASSRLS REPLICATION")).await;
        run(client, &format!("CREATE ROLE \"Reporting\"; GRANT \"Reporting\" TO {QUOTED}")).await;
        // Useful to see what is waited for.
        run(client, &format!("GRANT pg_monitor TO {QUOTED}; GRANT pg_signal_backend TO {QUOTED}")).await;
        for (since, role) in [
            (11, "pg_execute_server_program"),
            (11, "pg_write_server_files"),
            (14, "pg_read_all_data"),
            (14, "pg_write_all_data"),
        ] {
            if major >= since {
                run(client, &format!("GRANT {role} TO {QUOTED}")).await;
                expected.push(format!("REVOKE \"{role}\" FROM {QUOTED}"));
            }
        }
    }
    run(&scene.source, &format!("CREATE TABLE public.\"Far\" (); GRANT SELECT, DELETE ON public.\"Far\" TO {QUOTED}"))
        .await;
    run(&scene.source, "CREATE ROLE hidden; GRANT hidden TO app_owner; ALTER ROLE hidden SUPERUSER").await;
    // Something is missing, too.
    run(&scene.target, &format!("REVOKE CREATE ON DATABASE shop FROM {QUOTED}")).await;

    let said = scene.said();
    let missing = format!("-- on the target\nGRANT CREATE ON DATABASE \"shop\" TO {QUOTED};\n");
    assert!(said.contains(&missing), "{said}");
    assert!(said.contains("belongs to \"hidden\", a superuser through \"app_owner\""), "{said}");
    let (on_source, on_target) = Scene::script(&said);
    for (mut found, mut expected) in [(on_source.clone(), expected_source), (on_target.clone(), expected_target)] {
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{said}");
    }
    for (client, statements) in [(&scene.source, on_source), (&scene.target, on_target)] {
        for statement in statements {
            run(client, statement).await;
        }
    }
    run(&scene.target, &format!("GRANT CREATE ON DATABASE shop TO {QUOTED}")).await;
    run(&scene.source, "REVOKE hidden FROM app_owner").await;
    let said = scene.said();
    assert!(!said.contains("superfluous_right") && !said.contains("apply will refuse"), "{said}");
    tokio::task::block_in_place(|| scene.migration.cut_over("")).assert_switched();
    assert_eq!(text(&scene.target, "SELECT count(*) FROM app.items").await, "100");
    scene.migration.ok(&["cleanup", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_beyond_the_work_on_15() {
    told_and_taken_away((15, 15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_beyond_the_work_from_10_to_18() {
    told_and_taken_away((10, 18)).await;
}

/// A superuser loses it by the script, and what it lacks then is told by the next plan. Before PG 15 the target needs one.
#[tokio::test(flavor = "multi_thread")]
async fn a_superuser() {
    let scene = scene((15, 14)).await;
    let said = scene.said();
    assert!(!said.contains("superfluous_right") && !said.contains("superuser]"), "{said}");
    run(&scene.source, &format!("ALTER ROLE {QUOTED} SUPERUSER; REVOKE app_owner FROM {QUOTED}")).await;
    let said = scene.said();
    let (on_source, on_target) = Scene::script(&said);
    assert_eq!(on_source, [format!("ALTER ROLE {QUOTED} NOSUPERUSER")], "{said}");
    assert!(on_target.is_empty() && !said.contains("apply will refuse"), "{said}");
    run(&scene.source, on_source[0]).await;
    let said = scene.said();
    assert!(said.contains(&format!("\nGRANT USAGE ON SCHEMA \"app\" TO {QUOTED};\n")), "{said}");
    drop(scene.pair);
}

/// BYPASSRLS is a need where the owner itself is under its policies.
#[tokio::test(flavor = "multi_thread")]
async fn forced_policies_need_bypassrls() {
    let scene = scene((15, 15)).await;
    run(&scene.source, &format!("ALTER ROLE {QUOTED} BYPASSRLS; ALTER TABLE app.items ENABLE ROW LEVEL SECURITY"))
        .await;
    assert!(scene.said().contains(&format!("ALTER ROLE {QUOTED} NOBYPASSRLS;")));
    run(&scene.source, "ALTER TABLE app.items FORCE ROW LEVEL SECURITY").await;
    let said = scene.said();
    assert!(said.contains(&format!("-- on the target\nALTER ROLE {QUOTED} BYPASSRLS;")), "{said}");
    run(&scene.target, &format!("ALTER ROLE {QUOTED} BYPASSRLS")).await;
    let said = scene.said();
    assert!(!said.contains("superfluous_right") && !said.contains("apply will refuse"), "{said}");
}
