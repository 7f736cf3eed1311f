-- kinds: check, dump. A check that is not valid for old rows may come along as such.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, n int);
INSERT INTO t VALUES (1, -1), (2, 1);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, n int);
ALTER TABLE ONLY t ADD CONSTRAINT positive CHECK (n > 0) NOT VALID;
-- [by hand]
SELECT 1;
