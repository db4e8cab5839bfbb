"""The program in docs/audit.md, by which an auditor checks an export without any of ours."""

import re
import subprocess
import sys
from pathlib import Path

from db.audit.export import Filter, export
from db.audit.proofs import Proofs
from db.engine import connect
from tests.databases import migrate
from tests.db.audit_world import Log

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit.md"


def test_an_auditor_needs_none_of_our_programs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(blocks) == 1
    program, path = tmp_path / "check.py", tmp_path / "audit.jsonl"
    program.write_text(blocks[0])
    url = f"sqlite:///{tmp_path / 'homeostat.db'}"
    migrate(url)
    engine = connect(url)
    log = Log(engine, tmp_path / "audit").fill()
    first = (log.folder / "log.pub").read_text().strip()
    log.keeper.rotate(at_us=1, actor="mira", reason="yearly, für alle")
    log.keeper.redact(3, ["actor"], at_us=1, actor="dpo", reason="art. 17")
    path.write_text("".join(f"{line}\n" for line in export(Proofs(engine, log.folder), Filter())))
    engine.dispose()

    def check() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(program), str(path), first]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert check().stdout == "30 entries, signed\n", check().stderr
    path.write_text(path.read_text().replace("approval.approved", "approval.rejected"))
    assert "not the log that was signed" in check().stderr
