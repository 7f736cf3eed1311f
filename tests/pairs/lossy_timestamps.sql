-- kinds: lossy, index, comment. Time zones are lost on purpose; arrays of json are parsed.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, at timetz, m money);
INSERT INTO t VALUES (1, '12:00:00+05', 1.5), (2, '23:59:59.999999-11', -0.01), (3, NULL, NULL);
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  -- pcrd: accept LOSSY_CAST reason="all in one office"
  at time,
  -- pcrd: accept LOSSY_CAST reason="same locale on both ends"
  -- pcrd: accept LOCALE_DEPENDENT_CAST reason="same locale on both ends"
  m numeric
);
CREATE INDEX ON t (at);
COMMENT ON COLUMN t.at IS 'local';
-- [by hand]
ALTER TABLE t ALTER at TYPE time, ALTER m TYPE numeric;
