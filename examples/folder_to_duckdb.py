"""Analyze a folder into Parquet and query that in SQL: python folder_to_duckdb.py FOLDER OUT."""

import sys

import duckdb

import dcasenet
import dcasenet.batch

QUERY = """
    SELECT tag.label, count(*) AS files, round(avg(tag.probability), 2) AS probability
    FROM (SELECT unnest(tags) AS tag FROM read_parquet(?) WHERE status = 'ok')
    WHERE tag.probability > 0.2
    GROUP BY tag.label ORDER BY files DESC, probability DESC
"""

if __name__ == "__main__":  # files are read by processes of their own
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    folder, output = sys.argv[1:]
    model = dcasenet.load()
    summary = dcasenet.batch.analyze(model, folder, output)
    print(f"{summary.n_files} files, {summary.n_failed} failed")
    for label, files, probability in duckdb.execute(QUERY, [output]).fetchall():
        print(f"{label}: {files} files, {probability}")
