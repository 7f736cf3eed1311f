-- kinds: comment, index, check. Comments come, go and change, with text that looks like SQL.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a int CONSTRAINT a_ok CHECK (a > 0), b text);
CREATE INDEX i ON t (a);
COMMENT ON TABLE t IS 'old';
COMMENT ON COLUMN t.b IS 'goes';
COMMENT ON INDEX i IS 'changes';
INSERT INTO t VALUES (1, 1, ''), (2, NULL, NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, a int CONSTRAINT a_ok CHECK (a > 0), b text CHECK (b <> 'x'));
CREATE INDEX i ON t (a);
COMMENT ON TABLE t IS E'two\nlines \\ ''; DROP TABLE t; -- é';
COMMENT ON COLUMN t.a IS '-- pcrd: drops b';
COMMENT ON CONSTRAINT a_ok ON t IS 'positive';
COMMENT ON CONSTRAINT t_pkey ON t IS 'the key';
COMMENT ON INDEX i IS '$$x$$';
COMMENT ON CONSTRAINT t_b_check ON t IS 'unnamed';
-- [by hand]
SELECT 1;
