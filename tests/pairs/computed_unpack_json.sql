-- kinds: computed, jsonb, drop, array. A document is taken apart.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, doc jsonb);
INSERT INTO t VALUES (1, '{"n": 12, "s": "é", "l": [1, 2]}'), (2, '{}'), (3, NULL), (4, '{"n": null, "s": ""}');
-- [desired]
-- pcrd: drops doc
CREATE TABLE t (
  id int PRIMARY KEY,
  n int, -- pcrd: using (doc ->> 'n')::int
  s text, -- pcrd: using doc ->> 's'
  l text[] -- pcrd: using ARRAY[doc #>> '{l,0}', doc #>> '{l,1}']
);
-- [by hand]
ALTER TABLE t ADD n int, ADD s text, ADD l text[];
UPDATE t SET n = (doc ->> 'n')::int, s = doc ->> 's', l = ARRAY[doc #>> '{l,0}', doc #>> '{l,1}'];
ALTER TABLE t DROP doc;
