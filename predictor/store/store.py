"""The model store: facts of models, their pretraining data and their scores, behind one DuckDB connection.

It reads a .duckdb file or a DuckDB export directory (schema.sql, load.sql, CSV files), also where load.sql has paths of
another machine. Opening changes nothing: a directory is loaded into memory, a file is opened read-only. check.py checks the
contents, and load.py changes them.

    model_annotations    one row a model: id, architecture, total_params
    dataset_info         one row a model: id, pretraining tokens, shares of domains (percent)
    evaluation_results   one row a score: id, benchmark, setting, metric, metric_value, metric_stderr
    features             one row a model and column of an imported feature table; absent in published stores
    imports              one row an imported file; absent in published stores
    checkpoints          one row a checkpoint or training run (checkpoints.py); absent in published stores
    schema_version       2; absent in published stores
    makers               one row a model: id, maker, base_model (makers.py); absent in published stores
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tagcorpus.errors import InputError
from tagcorpus.predictor.records.checkpoints import TABLE
from tagcorpus.predictor.records.makers import TABLE as MAKERS
from tagcorpus.predictor.store.files import open_existing, tables

if TYPE_CHECKING:
    import pandas as pd

# tasks.normalised, in SQL; {0} is the column.
NORMALISED_SQL = (
    "CASE WHEN {0} LIKE 'hendrycksTest-%' THEN 'mmlu_' || substr({0}, 15) "
    "WHEN {0} = 'arc:challenge' THEN 'arc_challenge' ELSE {0} END"
)


class Store:
    """Models, data sets and scores. `con` is the DuckDB connection, `path` the store's path. A context manager."""

    def __init__(self, con: Any, path: Path) -> None:
        self.con = con
        self.path = path

    @classmethod
    def from_existing(cls, path: str | Path) -> Store:
        """The store at `path`: a DuckDB export directory or a .duckdb file. It is not changed.

        Raises InputError for any other path, and ConfigError where DuckDB is not installed.
        """
        return cls(open_existing(Path(path)), Path(path))

    def close(self) -> None:
        self.con.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tables(self) -> dict[str, list[str]]:
        """The columns of every table, by its name."""
        return tables(self.con)

    def models(self) -> list[str]:
        """Every id in any of the tables, in byte order."""
        of = [t for t, columns in self.tables.items() if "id" in columns]
        union = " UNION ".join(f"SELECT id FROM {t}" for t in of)
        return [row[0] for row in self.con.execute(f"SELECT id FROM ({union}) ORDER BY id").fetchall()]

    def annotations(self) -> pd.DataFrame:
        """One row a model: model_annotations and dataset_info joined on id, models of either; rows in byte order of id."""
        frame: pd.DataFrame = self.con.execute(
            "SELECT * FROM model_annotations FULL JOIN dataset_info USING (id) ORDER BY id"
        ).df()
        return frame

    def tidy(self, metric: str | Sequence[str] | None = None, *, annotated: bool = False) -> pd.DataFrame:
        """One row a score: id, benchmark, setting, metric, metric_value, metric_stderr; in byte order of these.

        metric      only these, for example "accuracy"
        annotated   also every column of `annotations()`: only of models that have them, as an inner join gives
        Scores are as they are stored: both names of a benchmark, NaN and exact zeros included (`check` lists them).
        """
        metrics = None if metric is None else [metric] if isinstance(metric, str) else list(metric)
        joined = "JOIN model_annotations USING (id) JOIN dataset_info USING (id)" if annotated else ""
        frame: pd.DataFrame = self.con.execute(
            f"SELECT * FROM evaluation_results {joined} WHERE $metrics IS NULL OR list_contains($metrics, metric) "
            "ORDER BY id, benchmark, setting, metric",
            {"metrics": metrics},
        ).df()
        return frame

    def wide(self, metric: str | Sequence[str] | None = None) -> pd.DataFrame:
        """One row a model, `id` first: every column of `annotations()`, then one for every (benchmark, setting, metric),
        named `<benchmark>_<setting>_<metric>` and in byte order; NaN where there is no score."""
        tidy = self.tidy(metric)
        tidy["score"] = tidy["benchmark"] + "_" + tidy["setting"] + "_" + tidy["metric"]
        scores = tidy.pivot(index="id", columns="score", values="metric_value")
        scores.columns.name = None
        joined: pd.DataFrame = self.annotations().merge(scores.reset_index(), on="id", how="outer")
        order = joined["id"].map(lambda i: i.encode()).sort_values().index  # pandas' own order may be another
        return joined.loc[order].reset_index(drop=True)

    def features(self) -> pd.DataFrame:
        """The imported feature table: `id`, then its columns in the order of the file; no rows where none was imported."""
        import pandas as pd

        if "features" not in self.tables:
            return pd.DataFrame({"id": pd.Series(dtype="str")})
        names = [r[0] for r in self.con.execute("SELECT feature FROM feature_columns ORDER BY position").fetchall()]
        long = self.con.execute("SELECT id, feature, value FROM features ORDER BY id").df()
        wide = long.pivot(index="id", columns="feature", values="value").reindex(columns=names)
        wide.columns.name = None
        return wide.loc[sorted(wide.index, key=str.encode)].reset_index()

    def model(self, model_id: str) -> dict[str, Any]:
        """The present annotations of one model, its scores as in `tidy()`, and its number of features.

        Raises InputError for an id that is in no table, naming the nearest id.
        """
        known = self.models()
        if model_id not in known:
            near = difflib.get_close_matches(model_id, known, n=1, cutoff=0.5)
            raise InputError(
                f"no model {model_id!r} in {str(self.path)!r}" + (f": did you mean {near[0]!r}?" if near else "")
            )
        given: dict[str, Any] = {}
        for table in (t for t in ("model_annotations", "dataset_info", TABLE, MAKERS) if t in self.tables):
            cursor = self.con.execute(f"SELECT * FROM {table} WHERE id = ?", [model_id])
            names = [d[0] for d in cursor.description]
            for row in cursor.fetchall():
                given |= {n: v for n, v in zip(names, row, strict=True) if v is not None and n != "id"}
        scores = self.con.execute(
            "SELECT benchmark, setting, metric, metric_value, metric_stderr FROM evaluation_results WHERE id = ? "
            "ORDER BY benchmark, setting, metric",
            [model_id],
        ).fetchall()
        n_features = 0
        if "features" in self.tables:
            n_features = self.con.execute("SELECT count(*) FROM features WHERE id = ?", [model_id]).fetchone()[0]
        return {"id": model_id, "annotations": given, "scores": scores, "n_features": n_features}
