"""Platforms that sign tokens for jobs, as they document them: what a trust rule need not say, and
what it may.

Sources: GitHub, "OpenID Connect reference"; GitLab, "OpenID Connect (OIDC) Authentication Using ID
Tokens"; Buildkite, "OpenID Connect (OIDC) in Buildkite"; Kubernetes, "Managing Service Accounts"
(TokenRequest); SPIFFE, "JWT-SVID" section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# RFC 7519 section 4.1; any token may hold them.
_REGISTERED: Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})


@dataclass(frozen=True, slots=True)
class Platform:
    """`issuer` is the platform's own, "" where each installation has another. `owners` are claims
    that say whose a job is: where many share an issuer, a rule must pin one. `claims` are all that
    its tokens hold; a rule that asks for another could never be met."""

    issuer: str
    owners: frozenset[str]
    claims: frozenset[str]


PLATFORMS: Final[Mapping[str, Platform]] = {
    "github-actions": Platform(
        "https://token.actions.githubusercontent.com",
        frozenset(
            {
                "sub", "repository", "repository_id", "repository_owner", "repository_owner_id",
                "enterprise", "enterprise_id", "job_workflow_ref", "workflow_ref",
            }
        ),
        _REGISTERED
        | {
            "actor", "actor_id", "base_ref", "check_run_id", "enterprise", "enterprise_id",
            "environment", "environment_node_id", "event_name", "head_ref", "job_workflow_ref",
            "job_workflow_sha", "ref", "ref_protected", "ref_type", "repository",
            "repository_id", "repository_owner", "repository_owner_id", "repository_visibility",
            "run_attempt", "run_id", "run_number", "runner_environment", "sha", "workflow",
            "workflow_ref", "workflow_sha",
        },
    ),
    "gitlab-ci": Platform(
        "https://gitlab.com",
        frozenset({"sub", "project_path", "project_id", "namespace_path", "namespace_id"}),
        _REGISTERED
        | {
            "ci_config_ref_uri", "ci_config_sha", "deployment_tier", "environment",
            "environment_action", "environment_protected", "groups_direct", "job_config",
            "job_id", "job_namespace_id", "job_namespace_path", "job_project_id",
            "job_project_path", "job_source", "namespace_id", "namespace_path", "pipeline_id",
            "pipeline_source", "project_id", "project_path", "project_visibility", "ref",
            "ref_path", "ref_protected", "ref_type", "runner_environment", "runner_id", "sha",
            "user_access_level", "user_email", "user_id", "user_identities", "user_login",
        },
    ),
    "buildkite": Platform(
        "https://agent.buildkite.com",
        frozenset({"sub", "organization_slug", "organization_id", "pipeline_id"}),
        _REGISTERED
        | {
            "agent_id", "build_branch", "build_commit", "build_number", "build_source", "build_tag",
            "cluster_id", "cluster_name", "job_id", "organization_id", "organization_slug",
            "pipeline_id", "pipeline_slug", "queue_id", "queue_key", "runner_environment",
            "step_key",
        },
    ),
    # A cluster's issuer is its own, so nobody else's service accounts come by it; which of them is
    # meant must be said all the same.
    "kubernetes": Platform(
        "", frozenset({"sub", "kubernetes.io"}), _REGISTERED | {"kubernetes.io"}
    ),
    "spiffe": Platform("", frozenset({"sub"}), _REGISTERED),
}  # fmt: skip
