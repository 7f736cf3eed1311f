//! What to do about a switch hook that did not do its work, or of which nobody knows.

/// What to do when nobody knows where the clients are, after a cutover's hook or a rollback's.
pub fn next_of_doubt(is_back: bool) -> &'static str {
    if is_back {
        "find out where the clients are. They use the source: pcrd rollback --switch-happened yes. They do not: --switch-happened no \
         runs the hook once more"
    } else {
        "find out where the clients are. They use the target: pcrd cutover --switch-happened yes. They do not: \
         --switch-happened no runs the hook once more, --switch-happened no --open-source opens the source again"
    }
}

/// What to do when the hook could not be started.
pub fn next_of_not_started(is_back: bool) -> &'static str {
    if is_back {
        "pcrd rollback tries again"
    } else {
        "pcrd cutover tries again; pcrd cutover --switch-happened no --open-source opens the source again"
    }
}
