//! What is said of a table beside its parts: which index CLUSTER takes, and its replica identity.

use crate::catalog::{Ident, ReplicaIdentity};
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::resolve::{ResolvedMark, ResolvedTable};

/// Every mark that can be carried; the others are listed.
pub(crate) fn marks(
    scopes: &[Scope<'_>],
    tables: &[ResolvedTable],
    goes_back: bool,
    report: &mut Report,
) -> Vec<ResolvedMark> {
    let mut out = Vec::new();
    for (scope, table) in scopes.iter().zip(tables) {
        let n_sources = scopes.iter().filter(|other| other.target_name == scope.target_name).count();
        let unfit = match table.partitioning {
            _ if n_sources > 1 => Some("the target has several sources"),
            Some(_) => Some("it would have to be said of each partition of the target"),
            None => None,
        };
        let index = |name: &Ident| {
            let name = scope.object(name);
            match unfit {
                Some(why) => Err(why.to_owned()),
                None if !table.wanted.indexes.contains_key(&name) => Err(format!("the target has no index {name}")),
                None => Ok(name),
            }
        };
        if let Some((name, _)) = scope.table.indexes.iter().find(|(_, index)| index.clustered) {
            match index(name) {
                Ok(index) => out.push(ResolvedMark::Clustered { table: scope.target_name.clone(), index }),
                Err(why) => report.leave("clustered index", scope.address(name), why),
            }
        }
        let (identity, words) = match &scope.table.replica_identity {
            ReplicaIdentity::Default => continue,
            ReplicaIdentity::Full => {
                (unfit.map_or(Ok(ReplicaIdentity::Full), |why| Err(why.to_owned())), "FULL".to_owned())
            }
            ReplicaIdentity::Nothing => {
                (unfit.map_or(Ok(ReplicaIdentity::Nothing), |why| Err(why.to_owned())), "NOTHING".to_owned())
            }
            ReplicaIdentity::Index(_) if goes_back => {
                let why = "the way back asks for the primary key; set it there when that has ended".to_owned();
                (Err(why), "USING INDEX".to_owned())
            }
            ReplicaIdentity::Index(name) => (index(name).map(ReplicaIdentity::Index), format!("USING INDEX {name}")),
        };
        match identity {
            Ok(identity) => out.push(ResolvedMark::Identity { table: scope.target_name.clone(), identity }),
            Err(why) => {
                report.leave("replica identity", scope.at(), format!("{words} is not set on the target: {why}"));
            }
        }
    }
    out
}
