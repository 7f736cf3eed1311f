//! Interim.
use super::ExecError;
use super::engine::Engine;
pub async fn tables(_: &mut Engine) -> Result<(), ExecError> {
    Ok(())
}
pub async fn before_fence(_: &mut Engine) -> Result<(), ExecError> {
    Ok(())
}
pub async fn at_fence(_: &mut Engine) -> Result<(), ExecError> {
    Ok(())
}
