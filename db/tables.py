"""The tables. A row holds its value as JSON and, beside it, the fields that queries filter on or conditions
compare.

Times are microseconds since the epoch, UTC. `row_revision` counts the writes of a row, so that a change can
be made conditional on nobody having written in between.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, MetaData, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_counter = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that later migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger(), str: Text(), bytes: LargeBinary(), dict[str, Any]: JSON()}  # noqa: RUF012


class IncidentRow(Base):
    """`remediation.values.Incident`."""

    __tablename__ = "incidents"
    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    state: Mapped[str]
    cause: Mapped[str]
    at_us: Mapped[int]
    row_revision: Mapped[int]
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "at_us", "id"), Index(None, "model", "at_us"), Index(None, "state"))


class AlertLinkRow(Base):
    """The alerts that remediation has taken note of, each with the incident it belongs to or the silence that
    holds it, if any."""

    __tablename__ = "alert_links"
    id: Mapped[str] = mapped_column(primary_key=True)
    incident_id: Mapped[str | None] = mapped_column(ForeignKey("incidents.id"), index=True)
    silence_id: Mapped[str | None] = mapped_column(index=True)
    at_us: Mapped[int]
    value: Mapped[dict[str, Any]]


class SilenceRow(Base):
    """`remediation.silences.Silence`. `state`: `set`, or `ended` where a person ended it; `until_us`: over for good."""

    __tablename__ = "silences"
    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    at_us: Mapped[int]
    until_us: Mapped[int] = mapped_column(index=True)
    row_revision: Mapped[int]
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "at_us", "id"),)


class NoticeRow(Base):
    """`remediation.notices.Notice`; never changed."""

    __tablename__ = "notices"
    id: Mapped[str] = mapped_column(primary_key=True)
    at_us: Mapped[int] = mapped_column(index=True)
    value: Mapped[dict[str, Any]]


class HeartbeatRow(Base):
    """When a part last did its work. Not in the audit log: it is a measurement."""

    __tablename__ = "heartbeats"
    name: Mapped[str] = mapped_column(primary_key=True)
    at_us: Mapped[int]


class ClickRow(Base):
    """A click in Slack, from when it is acknowledged until it is carried out. Not in the audit log: what a click
    decides is there, under the ticket."""

    __tablename__ = "slack_clicks"
    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    at_us: Mapped[int]
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "state", "at_us"),)


class SwitchRow(Base):
    """`remediation.switches.Switch`: who turned it last."""

    __tablename__ = "switches"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class TokenRow(Base):
    """`remediation.tokens.Token`: a digest, never the secret."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    at_us: Mapped[int] = mapped_column(index=True)
    value: Mapped[dict[str, Any]]


class ChangeRow(Base):
    """`remediation.changes.Change`. `until_us`: its end, or its beginning where it has none."""

    __tablename__ = "changes"
    id: Mapped[str] = mapped_column(primary_key=True)
    at_us: Mapped[int]
    until_us: Mapped[int] = mapped_column(index=True)
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "at_us", "id"),)


class PlanRow(Base):
    """`remediation.values.Plan`; never changed."""

    __tablename__ = "plans"
    id: Mapped[str] = mapped_column(primary_key=True)
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"), index=True)
    at_us: Mapped[int]
    value: Mapped[dict[str, Any]]


class ApprovalRow(Base):
    """`remediation.values.Approval`."""

    __tablename__ = "approvals"
    id: Mapped[str] = mapped_column(primary_key=True)
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id"), index=True)
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"), index=True)
    state: Mapped[str]
    at_us: Mapped[int]
    row_revision: Mapped[int]
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "at_us", "id"), Index(None, "state"))


class ActionRow(Base):
    """`remediation.values.Action`."""

    __tablename__ = "actions"
    id: Mapped[str] = mapped_column(primary_key=True)
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id"), index=True)
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"), index=True)
    model: Mapped[str]
    state: Mapped[str]
    at_us: Mapped[int]
    row_revision: Mapped[int]
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "at_us", "id"), Index(None, "model", "at_us"), Index(None, "state"))


class DesiredRow(Base):
    """The authority on which version serves: one row per model, changed only from one epoch to a higher
    one."""

    __tablename__ = "desired"
    model: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    value: Mapped[dict[str, Any]]


class DeploymentRow(Base):
    """Every `Desired` there ever was."""

    __tablename__ = "deployments"
    model: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[dict[str, Any]]


class PointRow(Base):
    """`detectors.values.MetricPoint`, latest revision."""

    __tablename__ = "metric_points"
    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    segment: Mapped[str]
    axis: Mapped[str]
    window: Mapped[str]
    start_us: Mapped[int]
    end_us: Mapped[int]
    rows: Mapped[int]
    measure: Mapped[str]
    feature: Mapped[str | None]
    verdict: Mapped[str]
    revision: Mapped[int]
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "model", "end_us"), Index(None, "model", "measure", "feature", "end_us"))


class AlertRow(Base):
    """`detectors.values.Alert` as the judge sent it; never changed."""

    __tablename__ = "alerts"
    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str]
    at_us: Mapped[int]
    value: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "model", "at_us"), Index(None, "at_us", "id"))


class AccountingRow(Base):
    """`detectors.values.Accounting`, latest counts of one stage and input partition."""

    __tablename__ = "accounting"
    model: Mapped[str] = mapped_column(primary_key=True)
    stage: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    received: Mapped[int]
    label_received: Mapped[int]
    value: Mapped[dict[str, Any]]


class LeafRow(Base):
    """One line of the audit log. `leaf` is what is hashed; the columns beside it are copies for filters.

    `position` is the order of insertion, `idx` the place in the Merkle tree, given by the sequencer. `personal`
    holds what the leaf commits to by salted hashes only (`db.audit.sealed`), and can be taken out of it.
    """

    __tablename__ = "audit_leaves"
    position: Mapped[int] = mapped_column(_counter, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    idx: Mapped[int | None] = mapped_column(unique=True)
    at_us: Mapped[int]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    leaf: Mapped[str]
    leaf_hash: Mapped[bytes]
    personal: Mapped[str | None]
    __table_args__ = (
        Index(None, "subject", "idx"),
        Index(None, "action", "idx"),
        Index(None, "actor", "idx"),
        Index(
            "ix_audit_leaves_unsequenced",
            "position",
            sqlite_where=text("idx IS NULL"),
            postgresql_where=text("idx IS NULL"),
        ),
    )


class NodeRow(Base):
    """The root of the perfect subtree of 2^`height` leaves that is `number`-th from the left; for the heights 8, 16,
    24, ..."""

    __tablename__ = "audit_nodes"
    height: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[bytes]


class TreeRow(Base):
    """The Merkle tree's size and right edge: one row, whose lock makes one sequencer at a time."""

    __tablename__ = "audit_tree"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int]
    edge: Mapped[bytes]


class CheckpointRow(Base):
    """A signed statement that the first `size` leaves have this root."""

    __tablename__ = "audit_checkpoints"
    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_us: Mapped[int]
    note: Mapped[str]
