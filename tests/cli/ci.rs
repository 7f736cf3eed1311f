//! Every command and every jq line of docs/ci/, as a job would run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::environment::Environment;

/// A place with the migration's files, and `pcrd` and a stand-in for the code host's client on the PATH.
struct Job {
    env: Environment,
}

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci").join(file)
}

impl Job {
    fn of_case(case: &str) -> Self {
        let jq = Command::new("jq").arg("--version").output();
        assert!(jq.is_ok_and(|output| output.status.success()), "jq is not there: apt-get install jq");
        let env = Environment::of_case(case);
        let bin = env.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pcrd"), bin.join("pcrd")).unwrap();
        Self { env }
    }

    /// Runs a script as the shell of a job does.
    fn shell(&self, script: &str) -> Output {
        let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.env.path().display());
        let mut command = Command::new("timeout");
        command.args(["60", "bash", "-e", "-o", "pipefail", "-c", script]);
        command.env_clear().env("PATH", path).env("HOME", self.env.path()).current_dir(self.env.path());
        command.env("REPOSITORY", "o/r").env("PULL_REQUEST", "7");
        command.output().unwrap()
    }

    #[track_caller]
    fn shell_expecting(&self, code: i32, script: &str) -> String {
        let output = self.shell(script);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{script}\nstdout: {stdout}\nstderr: {stderr}");
        stdout.into_owned()
    }

    fn review(&self) -> String {
        format!("{} .", docs("review.sh").display())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.env.path().join(name)).unwrap()
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.env.path().join(from), self.env.path().join(to)).unwrap();
    }
}

/// The commands between the fences of a page.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in page.lines().map(str::trim) {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => found.push(line.to_owned()),
            _ => {}
        }
    }
    found
}

#[test]
fn every_command_of_the_page_runs() {
    let job = Job::of_case("widen_id_and_pack");
    let commands = commands(&std::fs::read_to_string(docs("README.md")).unwrap());
    assert!(commands.len() >= 14, "{commands:?}");
    for command in &commands {
        // Its source and target are a test of their own, and here in files.
        if command.starts_with("pcrd inspect ") {
            let mut words: Vec<&str> = command.split(' ').skip(1).collect();
            words.push("--help");
            let _ = job.env.run_expecting(0, &words);
            continue;
        }
        let said = job.shell_expecting(0, command);
        let writes = command.contains(" > ") || command.contains("--out") || command.starts_with("cp ");
        assert!(writes || !said.trim().is_empty(), "{command} says nothing");
    }
    assert!(job.read("comment.md").starts_with("<!-- pcrd:plan:"));
    assert!(job.read("graph.mmd").starts_with("flowchart"));
}

#[test]
fn the_script_exits_by_what_it_finds() {
    let job = Job::of_case("narrowing_cast");
    let said = job.shell_expecting(0, &job.review());
    assert!(said.starts_with("plan ") && said.contains(": 1 table(s), 15 steps\n"), "{said}");
    let comment = job.read("comment.md");
    assert!(comment.contains("### pcrd plan") && comment.contains("### pcrd audit passed"), "{comment}");
    let sarif: Value = serde_json::from_str(&job.read("audit.sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");

    job.rename("next.json", "plan.json");
    let _ = job.shell_expecting(0, &job.review());
    assert!(job.read("comment.md").contains("No differences: both are plan "));

    let config = job.read("pcrd.config.yml");
    job.env.write("pcrd.config.yml", &config.replace("integer", "smallint"));
    let _ = job.shell_expecting(2, &job.review());
    assert!(job.read("comment.md").contains("-  \"value\" integer NOT NULL,"), "{}", job.read("comment.md"));

    job.env.write("policy.yml", "forbid: [NARROWING_CAST]\n");
    let said = job.shell_expecting(3, &job.review());
    assert!(said.contains("\nforbidden: NARROWING_CAST@public.meters.value: "), "{said}");

    std::fs::remove_file(job.env.path().join("policy.yml")).unwrap();
    job.env.write("plan.json", &job.read("next.json").replacen("10000", "10001", 1));
    let _ = job.shell_expecting(4, &job.review());

    job.env.write("pcrd.config.yml", "source: 1\n");
    let _ = job.shell_expecting(64, &job.review());
}

#[test]
fn a_blocked_plan_has_a_comment_that_says_why() {
    let job = Job::of_case("blocked");
    let _ = job.shell_expecting(3, &job.review());
    assert!(job.read("comment.md").contains("**Blocked**"));
    assert!(!job.env.path().join("next.json").exists());
}

/// The scripts of the workflow, cut out of it as its runner would.
fn workflow_scripts() -> Vec<String> {
    let text = std::fs::read_to_string(docs("github.yml")).unwrap();
    let tree: Value = serde_yaml::from_str(&text).unwrap();
    let steps = tree["jobs"]["review"]["steps"].as_array().unwrap();
    steps.iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect()
}

#[test]
fn every_script_of_the_workflow_runs() {
    let job = Job::of_case("narrowing_cast");
    // What GitHub runs; the code host's answer comes from a file, what it is sent goes into one.
    job.env.write(
        "bin/gh",
        "#!/bin/sh\necho \"$*\" >>gh.log\ncase \"$*\" in *--paginate*) cat comments.json ;; *) cp body.json sent.json ;; esac\n",
    );
    let _ = job.shell_expecting(0, "chmod +x bin/gh; mkdir -p migration docs/ci; mv *.json *.yml migration/");
    std::fs::copy(docs("review.sh"), job.env.path().join("docs/ci/review.sh")).unwrap();
    job.env.write("comments.json", "[]");
    let scripts = workflow_scripts();
    assert_eq!(scripts.len(), 3);
    assert_eq!(scripts[0], "cargo install --locked pcrd");
    for script in &scripts[1..] {
        let _ = job.shell_expecting(0, script);
    }
    assert!(job.read("gh.log").ends_with("api --method POST repos/o/r/issues/7/comments --input body.json\n"));
    let sent: Value = serde_json::from_str(&job.read("sent.json")).unwrap();
    assert!(sent["body"].as_str().unwrap().starts_with("<!-- pcrd:plan:pcrd.config.yml -->"));

    let comments = serde_json::json!([{"id": 1, "body": "hello"}, {"id": 42, "body": sent["body"]}]);
    job.env.write("comments.json", &comments.to_string());
    let _ = job.shell_expecting(0, &scripts[2]);
    assert!(job.read("gh.log").ends_with("api --method PATCH repos/o/r/issues/comments/42 --input body.json\n"));
}
