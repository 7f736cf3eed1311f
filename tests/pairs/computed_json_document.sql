-- kinds: computed, jsonb, drop, index. Columns are folded into a document with a GIN index.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, color text, weight numeric, tags text[]);
INSERT INTO t VALUES (1, 'red', 1.50, '{a,b}'), (2, NULL, NULL, NULL), (3, 'quo"te', -0.0, '{}'), (4, '☃', 1e20, '{NULL,"x y"}');
-- [desired]
-- pcrd: drops color, weight, tags
CREATE TABLE t (
  id int PRIMARY KEY,
  attributes jsonb NOT NULL DEFAULT '{}' -- pcrd: using jsonb_build_object('color', color, 'weight', weight, 'tags', to_jsonb(tags))
);
CREATE INDEX ON t USING gin (attributes jsonb_path_ops);
-- [by hand]
ALTER TABLE t ADD attributes jsonb;
UPDATE t SET attributes = jsonb_build_object('color', color, 'weight', weight, 'tags', to_jsonb(tags));
ALTER TABLE t DROP color, DROP weight, DROP tags;
