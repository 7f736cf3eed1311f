-- kinds: lossy, jsonb, check, index. json becomes jsonb under a check and an index.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, doc json);
INSERT INTO t VALUES (1, '{"b":1,"a":2,"b":3}'), (2, '[]'), (3, NULL), (4, '"\u00e9"');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  -- pcrd: accept LOSSY_CAST reason="keys do not repeat"
  doc jsonb CHECK (doc <> 'null')
);
CREATE INDEX ON t USING gin (doc);
-- [by hand]
ALTER TABLE t ALTER doc TYPE jsonb;
