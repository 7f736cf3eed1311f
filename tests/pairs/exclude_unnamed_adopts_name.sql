-- kinds: exclude, names. An exclusion that the file leaves unnamed keeps the source's name.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, c circle, CONSTRAINT "no touching" EXCLUDE USING gist (c WITH &&));
INSERT INTO t VALUES (1, '<(0,0),1>'), (2, '<(10,0),1>'), (3, NULL);
-- [desired]
CREATE TABLE t (id int PRIMARY KEY, c circle, EXCLUDE USING gist (c WITH &&), n int);
-- [direct]
CREATE TABLE t (id int PRIMARY KEY, c circle, CONSTRAINT "no touching" EXCLUDE USING gist (c WITH &&), n int);
-- [by hand]
ALTER TABLE t ADD n int;
