//! Checks a plan after building it and after reading it: what holds of every plan, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::graph::{Cycle, order};
use crate::plan::kind::Kind;
use crate::plan::rules::World;
use crate::plan::shape::{MisshapenError, check_shapes};
use crate::plan::statements::{StatementError, revert, statements};
use crate::plan::whole::{self, WholeError};
use crate::plan::{FORMAT, Op, Phase, Plan, Statement, Step, StepId, digest, effects};

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The plan has another format.
    #[error("the plan has format `{0}`; this pcrd reads {FORMAT}")]
    Format(String),
    /// Two steps with one id.
    #[error("two steps have the id {0}")]
    DuplicateStep(StepId),
    /// An id that is not the op's.
    #[error("step {found} does what {expected} does")]
    WrongId {
        /// The id in the plan.
        found: StepId,
        /// The id of its op.
        expected: StepId,
    },
    /// A step waits for one that is not there.
    #[error("step {step} waits for {missing}, which is not in the plan")]
    MissingStep {
        /// The waiting step.
        step: StepId,
        /// What it waits for.
        missing: StepId,
    },
    /// A step stands before one that it waits for.
    #[error("step {step} stands before {earlier}, which it waits for")]
    OutOfOrder {
        /// The waiting step.
        step: StepId,
        /// What it waits for.
        earlier: StepId,
    },
    /// A step waits for one of a later phase.
    #[error("step {step} is in an earlier phase than {earlier}, which it waits for")]
    PhaseBackwards {
        /// The waiting step.
        step: StepId,
        /// What it waits for.
        earlier: StepId,
    },
    /// A step is not in its op's phase.
    #[error("step {0} is in the wrong phase")]
    WrongPhase(StepId),
    /// The edges are not those that the rules make.
    #[error("the steps that {0} waits for are not those that the rules ask for")]
    WrongEdges(StepId),
    /// The rules contradict each other.
    #[error(transparent)]
    Cycle(#[from] Cycle),
    /// A table is switched without having been compared.
    #[error("table {0} is copied but not verified before the cutover")]
    NotVerified(String),
    /// A statement drops something on the source before cleanup.
    #[error("step {0} drops something on the source before cleanup")]
    DropOnSource(StepId),
    /// An op cannot be rendered.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Statements differ from what the op renders.
    #[error("the statements of step {step} are not what it does:\n{diff}")]
    StatementsDiffer {
        /// The step.
        step: StepId,
        /// Expected and found, as a unified diff.
        diff: String,
    },
    /// A statement that its op renders but no step of its kind may run.
    #[error("step {step}: {why}")]
    Misshapen {
        /// The step.
        step: StepId,
        /// What is wrong with the statement.
        why: Box<MisshapenError>,
    },
    /// The parts do not make one migration.
    #[error(transparent)]
    Whole(#[from] WholeError),
    /// Locks, revert or done_when differ from the op's.
    #[error("what step {0} says of its locks, its end or its revert is not what its op says")]
    EffectsDiffer(StepId),
    /// The digest of one end's objects is not theirs.
    #[error("the fingerprint of the {0}'s objects is not theirs")]
    Fingerprint(&'static str),
    /// The id is not the digest of the rest.
    #[error("the plan was edited: its id is {found}, its content is {computed}")]
    Digest {
        /// The id in the plan.
        found: String,
        /// The digest of the content.
        computed: String,
    },
}

/// Checks everything that can be checked without a database.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(plan: &Plan) -> Result<(), CheckError> {
    let found = edits(plan).or_else(|| shapes(plan).next());
    found.or_else(|| whole::problems(plan).into_iter().next().map(CheckError::from)).map_or(Ok(()), Err)
}

/// Everything that is wrong with a plan: an edit of one step hides nothing that is wrong with another.
pub fn problems(plan: &Plan) -> Vec<CheckError> {
    let mut found = Vec::new();
    if let Some(error) = structure(plan, &mut found) {
        return vec![error];
    }
    found.extend(digests(plan));
    found.extend(shapes(plan));
    found.extend(whole::problems(plan).into_iter().map(CheckError::from));
    found
}

/// The first thing that somebody changed who did not know how the parts of a plan depend on each other.
fn edits(plan: &Plan) -> Option<CheckError> {
    let mut found = Vec::new();
    structure(plan, &mut found).or_else(|| found.into_iter().next()).or_else(|| digests(plan).next())
}

/// Steps, their statements and their edges. Returns what makes the rest unreadable.
fn structure(plan: &Plan, found: &mut Vec<CheckError>) -> Option<CheckError> {
    if plan.format != FORMAT {
        return Some(CheckError::Format(plan.format.clone()));
    }
    let places = match places(plan) {
        Ok(places) => places,
        Err(error) => return Some(error),
    };
    for step in &plan.steps {
        found.extend(check_step(plan, step).err());
        found.extend(check_edges(plan, step, &places).err());
    }
    found.extend(check_order(plan).err());
    found.extend(check_verified(plan).err());
    None
}

fn digests(plan: &Plan) -> impl Iterator<Item = CheckError> {
    let sides = [("source", &plan.source), ("target", &plan.target)].into_iter();
    let sides = sides.filter(|(_, side)| side.fingerprint != digest::side(&side.tables, &side.sequences, &side.types));
    let id = || {
        let computed = digest::id(plan);
        let is_other = plan.id != computed;
        is_other.then(|| CheckError::Digest { found: plan.id.to_string(), computed: computed.to_string() })
    };
    sides.map(|(name, _)| CheckError::Fingerprint(name)).chain(std::iter::once_with(id).flatten())
}

/// Statements that say what their ops say, and are still none that such a step may run.
fn shapes(plan: &Plan) -> impl Iterator<Item = CheckError> {
    plan.steps.iter().filter_map(|step| {
        let why = check_shapes(step, plan).err()?;
        Some(CheckError::Misshapen { step: step.id.clone(), why: Box::new(why) })
    })
}

impl CheckError {
    /// The step that is wrong, when it is one step.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::WrongId { found: step, .. }
            | Self::DuplicateStep(step)
            | Self::MissingStep { step, .. }
            | Self::OutOfOrder { step, .. }
            | Self::PhaseBackwards { step, .. }
            | Self::WrongPhase(step)
            | Self::WrongEdges(step)
            | Self::DropOnSource(step)
            | Self::StatementsDiffer { step, .. }
            | Self::Misshapen { step, .. }
            | Self::EffectsDiffer(step) => Some(step),
            Self::Cycle(Cycle(step)) => Some(step),
            Self::Format(_)
            | Self::NotVerified(_)
            | Self::Statement(_)
            | Self::Whole(_)
            | Self::Fingerprint(_)
            | Self::Digest { .. } => None,
        }
    }
}

fn places(plan: &Plan) -> Result<BTreeMap<&StepId, usize>, CheckError> {
    let mut places = BTreeMap::new();
    for (place, step) in plan.steps.iter().enumerate() {
        if places.insert(&step.id, place).is_some() {
            return Err(CheckError::DuplicateStep(step.id.clone()));
        }
    }
    Ok(places)
}

fn check_step(plan: &Plan, step: &Step) -> Result<(), CheckError> {
    if step.id != step.op.id() {
        return Err(CheckError::WrongId { found: step.id.clone(), expected: step.op.id() });
    }
    if step.phase != step.op.phase() {
        return Err(CheckError::WrongPhase(step.id.clone()));
    }
    let drops = step.statements.iter().any(|statement| {
        statement.on == crate::plan::End::Source && statement.sql.to_ascii_uppercase().starts_with("DROP ")
    });
    if drops && step.phase != Phase::Cleanup {
        return Err(CheckError::DropOnSource(step.id.clone()));
    }
    let expected = statements(&step.op, plan)?;
    if step.statements != expected {
        return Err(CheckError::StatementsDiffer {
            step: step.id.clone(),
            diff: difference(&expected, &step.statements),
        });
    }
    if step.revert != revert(&step.op)
        || step.lock != effects::locks(&step.op, plan)
        || step.done_when != effects::done_when(&step.op, plan)
    {
        return Err(CheckError::EffectsDiffer(step.id.clone()));
    }
    Ok(())
}

fn difference(expected: &[Statement], found: &[Statement]) -> String {
    let text = |list: &[Statement]| {
        let lines = list.iter().map(|statement| format!("{:?}: {}\n", statement.on, statement.sql));
        lines.collect::<String>()
    };
    let (expected, found) = (text(expected), text(found));
    similar::TextDiff::from_lines(expected.as_str(), found.as_str())
        .unified_diff()
        .header("what the op renders", "what the plan says")
        .to_string()
}

fn check_edges(plan: &Plan, step: &Step, places: &BTreeMap<&StepId, usize>) -> Result<(), CheckError> {
    let place = places[&step.id];
    for after in &step.after {
        let Some(&earlier) = places.get(&after.step) else {
            return Err(CheckError::MissingStep { step: step.id.clone(), missing: after.step.clone() });
        };
        if earlier >= place {
            return Err(CheckError::OutOfOrder { step: step.id.clone(), earlier: after.step.clone() });
        }
        if plan.steps[earlier].phase > step.phase {
            return Err(CheckError::PhaseBackwards { step: step.id.clone(), earlier: after.step.clone() });
        }
    }
    Ok(())
}

/// The rules, applied again to the plan's own ops, must give the same order and the same edges.
fn check_order(plan: &Plan) -> Result<(), CheckError> {
    let ops: Vec<Op> = plan.steps.iter().map(|step| step.op.clone()).collect();
    let ordered = order(&World::of(plan), ops)?;
    for (step, (op, after)) in plan.steps.iter().zip(&ordered) {
        if step.id != op.id() || &step.after != after {
            return Err(CheckError::WrongEdges(step.id.clone()));
        }
    }
    Ok(())
}

fn check_verified(plan: &Plan) -> Result<(), CheckError> {
    let of = |kind: Kind| plan.steps.iter().filter(move |step| step.op.kind() == kind);
    if of(Kind::Fence).next().is_none() {
        return Ok(());
    }
    let verified: BTreeSet<_> = of(Kind::VerifyTable).filter_map(|step| step.op.table()).collect();
    for copied in of(Kind::CopyTable).filter_map(|step| step.op.table()) {
        if !verified.contains(copied) {
            return Err(CheckError::NotVerified(copied.to_string()));
        }
        if plan.onto(copied).next().is_none() {
            return Err(StatementError::NoProjection(copied.clone()).into());
        }
    }
    Ok(())
}
