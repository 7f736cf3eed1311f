//! A ledger that somebody edited: what cannot be read stops the run, it does not become a default.

use crate::stage::Stage;
use crate::support::{TestPair, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_limit_is_not_no_limit() {
    let pair = TestPair::start(15, 15);
    let ddl = "CREATE TABLE items (id integer PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 100)";
    let yaml = "    - { name: items, columns: { id: { type: bigint } } }\n";
    let stage = Stage::new(&pair, "damaged", ddl, yaml, "").await;
    stage.migration.ok(&["apply", "plan.json", "--yes", "--through", "prepare"]);
    let damage = |value: &str| {
        format!(
            "INSERT INTO pcrd.setting SELECT id, 'rows_per_second', '{value}' FROM pcrd.migration \
             ON CONFLICT (migration, name) DO UPDATE SET value = excluded.value"
        )
    };
    for value in ["", "many", "-1", "1e3", "99999999999999999999"] {
        run(&stage.target, &damage(value)).await;
        let said = stage.cut_over();
        assert_eq!(said.code, Some(1), "{value}: {:?}", said.lines);
        assert!(said.stderr.contains("limit of rows a second"), "{value}: {}", said.stderr);
        assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "0", "{value}: it went on");
    }
    run(&stage.target, &damage("50000")).await;
    stage.cut_over().assert_switched();
    stage.assert_equal("SELECT id::bigint FROM items", "SELECT id FROM items").await;
}
