-- kinds: jsonb, using, widen. Text becomes a document by an expression, another one becomes json.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a text, b jsonb);
INSERT INTO t VALUES (1, '{"b": 1, "a": [true]}', '{"z": 1, "a": 2}'), (2, NULL, NULL), (3, '"s"', '"\u00e9"');
-- [desired]
CREATE TABLE t (
  id int PRIMARY KEY,
  a jsonb, -- pcrd: using a::jsonb
  b json
);
-- [by hand]
ALTER TABLE t ALTER a TYPE jsonb USING a::jsonb, ALTER b TYPE json;
