-- kinds: table_rename, serial, sequence. The serial's sequence is renamed with the table.
-- [source]
CREATE TABLE log (id serial PRIMARY KEY, line text NOT NULL);
INSERT INTO log (line) SELECT repeat(chr(64 + n), n) FROM generate_series(1, 20) AS n;
-- [desired]
-- pcrd: renamed_from log
CREATE TABLE journal (id serial CONSTRAINT journal_pkey PRIMARY KEY, line text NOT NULL);
-- [by hand]
ALTER TABLE log RENAME TO journal;
