#!/usr/bin/env bash
# Reviews a migration in a pull request, without a database and without credentials.
#
#   docs/ci/review.sh [DIRECTORY]
#
# The directory holds what is under version control:
#   pcrd.config.yml   what is wanted
#   source.json       pcrd inspect --side source --out source.json, by somebody with credentials
#   target.json       the same of the target
#   plan.json         the plan that was reviewed last, when there is one
#   policy.yml        what plans may do, when there is one
# It gets: next.json, the plan of this change; comment.md; audit.sarif.
#
# Exit: 0 the plan may be merged; 2 plan.json is not the plan of these files: commit next.json as plan.json;
# 3 a finding, check or policy blocks it; 4 a plan was edited; 64 the config is wrong.
set -euo pipefail
cd "${1:-.}"
: >comment.md
rm -f next.json audit.sarif

# A blocked plan still has a comment, which says what blocks it.
status=0
pcrd plan --source-catalog source.json --target-catalog target.json --no-evidence --skip-data-checks \
  --out next.json --format markdown >comment.md || status=$?
[ "$status" = 0 ] || exit "$status"

policy=()
[ ! -e policy.yml ] || policy=(--policy policy.yml)
pcrd audit next.json "${policy[@]}" --format sarif >audit.sarif || status=$?
pcrd audit next.json "${policy[@]}" --format markdown >>comment.md || status=$?

if [ -e plan.json ]; then
  changed=0
  pcrd diff plan.json next.json --detailed-exitcode --format markdown >>comment.md || changed=$?
  # What blocks weighs more than what is not committed yet.
  [ "$status" != 0 ] || status=$changed
fi

# For the log of the job.
jq -r '"plan \(.plan.id[7:15]): \(.plan.projections | length) table(s), \(.plan.steps | length) steps"' next.json
jq -r '.plan.findings[] | select(.severity == "error" or .severity == "refused")
  | "\(.code)@\(.address)  \(.accepted.reason // "not accepted")"' next.json
jq -r '.runs[].results[] | select(.level == "error") | "\(.ruleId): \(.message.text)"' audit.sarif
exit "$status"
