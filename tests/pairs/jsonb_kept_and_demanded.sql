-- kinds: jsonb, check, default, index. Documents under new demands and an index by path.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, doc jsonb);
INSERT INTO t VALUES (1, '{"k": "é\\n", "n": 1.00}'), (2, '{}'), (3, NULL), (4, '{"k": null}');
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, doc jsonb DEFAULT '{}' CHECK (jsonb_typeof(doc) = 'object'));
CREATE INDEX ON t ((doc ->> 'k'));
CREATE INDEX by_path ON t USING gin (doc jsonb_path_ops);
-- [by hand]
SELECT 1;
