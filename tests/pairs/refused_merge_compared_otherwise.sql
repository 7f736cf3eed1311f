-- kinds: merge, index, collation. An index that compares the column in a way of its own might find two constants the same.
-- [source]
CREATE TABLE east (id int PRIMARY KEY, v text);
CREATE TABLE west (id int PRIMARY KEY, v text);
-- [desired]
-- pcrd: merged_from east with region = 'east'
-- pcrd: merged_from west with region = 'west'
CREATE TABLE world (region text NOT NULL, id int, v text, PRIMARY KEY (region, id));
CREATE UNIQUE INDEX by_bytes ON world (region COLLATE "C", v);
CREATE UNIQUE INDEX by_pattern ON world (v, region text_pattern_ops);
CREATE UNIQUE INDEX beside ON world (v) INCLUDE (region);
CREATE UNIQUE INDEX plainly ON world (v, region DESC NULLS LAST) WHERE v > '';
-- [refused]
-- by_bytes has region with a collation or operator class, which may find two values equal
-- by_pattern has region with a collation or operator class
-- beside lacks region
