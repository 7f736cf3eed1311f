-- kinds: fk, graph, widen. Tables that reference each other in a circle, and one that references itself.
-- [source]
CREATE TABLE emp (id int PRIMARY KEY, dept int, boss int REFERENCES emp);
CREATE TABLE dept (id int PRIMARY KEY, head int REFERENCES emp);
ALTER TABLE emp ADD CONSTRAINT emp_dept_fk FOREIGN KEY (dept) REFERENCES dept;
INSERT INTO emp SELECT n, NULL, nullif(n / 2, 0) FROM generate_series(1, 15) AS n;
INSERT INTO dept SELECT n, n FROM generate_series(1, 5) AS n;
UPDATE emp SET dept = 1 + id % 5;
-- [desired]
CREATE TABLE emp (id bigint PRIMARY KEY, dept bigint, boss bigint REFERENCES emp ON DELETE SET NULL);
CREATE TABLE dept (id bigint PRIMARY KEY, head bigint REFERENCES emp);
ALTER TABLE emp ADD CONSTRAINT emp_dept_fk FOREIGN KEY (dept) REFERENCES dept;
-- [by hand]
ALTER TABLE emp ALTER id TYPE bigint, ALTER dept TYPE bigint, ALTER boss TYPE bigint;
ALTER TABLE dept ALTER id TYPE bigint, ALTER head TYPE bigint;
