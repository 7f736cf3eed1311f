//! `REPLICA_IDENTITY_CHANGE`: updates and deletes of the table cannot be replicated.

use crate::findings::{Lock, Object, Rule, Severity};

/// See the module.
pub static REPLICA_IDENTITY_CHANGE: Rule = Rule {
    code: "REPLICA_IDENTITY_CHANGE",
    severity: Severity::Refused,
    title: "updates and deletes of the table cannot be replicated",
    lock: Some(Lock {
        mode: "ACCESS EXCLUSIVE",
        on: Object::SourceTables,
        held: "milliseconds, once the table's running transactions have ended",
        step: None,
    }),
    effect: "No plan is made. pcrd never changes a replica identity: the statement in the help is the owner's to run, and \
          it takes the lock below.",
    why: "A published table without replica identity refuses every UPDATE and DELETE of the application: publishing it \
          would be an outage.",
    instead: "Run the statement in the help with a lock_timeout, at a quiet time. REPLICA IDENTITY USING INDEX writes less \
          log than FULL.",
};
