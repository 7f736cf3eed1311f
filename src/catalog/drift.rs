//! Interim.
pub struct Drift;
impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("")
    }
}
pub fn explain_drift(_: &super::Table, _: &super::Table) -> Vec<Drift> {
    vec![]
}
