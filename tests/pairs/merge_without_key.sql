-- kinds: merge, using, collation. Rows without a key, found by all that they have; and some of them stay behind.
-- [source]
CREATE TABLE log_a (at date, line text, level int);
ALTER TABLE log_a REPLICA IDENTITY FULL;
INSERT INTO log_a SELECT date '2024-01-01' + g % 5, 'line ' || g % 3, g % 4 FROM generate_series(1, 60) AS g;
CREATE TABLE log_b (at date, line text, level int);
ALTER TABLE log_b REPLICA IDENTITY FULL;
INSERT INTO log_b SELECT date '2024-01-01' + g % 5, 'line ' || g % 3, g % 4 FROM generate_series(1, 60) AS g;
-- [desired]
-- pcrd: merged_from log_a with origin = 'a'
-- pcrd: merged_from log_b with origin = 'B'
-- pcrd: where level > 0
-- pcrd: accept ROW_FILTER reason="noise"
CREATE TABLE log (
    at date,
    origin text COLLATE "C" NOT NULL,
    line text, -- pcrd: using upper(line)
    level int
);
-- [by hand]
CREATE TABLE log AS SELECT at, 'a' AS origin, upper(line) AS line, level FROM log_a WHERE level > 0
    UNION ALL SELECT at, 'B', upper(line), level FROM log_b WHERE level > 0;
