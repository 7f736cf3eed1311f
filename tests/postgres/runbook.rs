//! The set-ups that the runbook shows, as they stand there: each program is called with its words, in order, once. The one with
//! pgbouncer has its own tests with a real one.

use crate::hooks::{DDL, TABLES, calls, plan_with, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, text};

const PAGE: &str = include_str!("../../docs/runbook.md");
/// Writes down which program it is and with what it was called.
const PROGRAM: &str = "#!/bin/sh\necho \"${0##*/} $*\" >> calls\n";

/// The YAML behind a heading.
fn block(heading: &str) -> &'static str {
    let (_, behind) = PAGE.split_once(heading).unwrap();
    let (_, behind) = behind.split_once("```yaml\n").unwrap();
    behind.split_once("```").unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn each_set_up_calls_what_it_says() {
    let pair = TestPair::start(15, 17);
    for (name, heading, wanted) in [
        (
            "rails",
            "**Rails, Rack and the like**",
            "ssh web touch /srv/shop/tmp/maintenance ssh web /srv/shop/bin/use-database new ssh web rm /srv/shop/tmp/maintenance",
        ),
        (
            "kubernetes",
            "**Kubernetes.**",
            "kubectl scale deployment/shop --replicas=0 kubectl set env deployment/shop DATABASE_HOST=new-db \
             kubectl scale deployment/shop --replicas=8",
        ),
        (
            "heroku",
            "**Heroku.**",
            "heroku maintenance:on --app shop shop-use-new-database  heroku maintenance:off --app shop",
        ),
    ] {
        let mut stage = Stage::new(&pair, name, DDL, TABLES, "").await;
        let dir = stage.migration.dir.path().to_owned();
        for program in ["ssh", "kubectl", "heroku", "shop-use-new-database"] {
            write_program(&dir, program, PROGRAM);
        }
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        stage.migration.environment.push(("PATH".to_owned(), path));
        let here = format!("{}/", dir.display());
        plan_with(&stage.migration, &block(heading).replace("/usr/local/bin/", &here));
        stage.cut_over().assert_switched();
        assert_eq!(calls(&stage), wanted, "{name}");
        assert_eq!(text(&stage.target, "SELECT count(*) FROM items").await, "200");
    }
}
