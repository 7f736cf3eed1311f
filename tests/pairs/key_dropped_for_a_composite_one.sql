-- kinds: key, order, names. The key named by the directive stays, a composite primary key comes.
-- [source]
CREATE TABLE t (tenant int NOT NULL, id int CONSTRAINT old_pk PRIMARY KEY, v text);
INSERT INTO t SELECT n % 3, n, 'v' || n FROM generate_series(1, 15) AS n;
-- [desired]
-- pcrd: key (id)
-- pcrd: order keep
CREATE TABLE t (
  v text,
  tenant int NOT NULL,
  id int NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (id)
);
-- [direct]
CREATE TABLE t (
  tenant int NOT NULL,
  id int NOT NULL,
  v text,
  PRIMARY KEY (tenant, id),
  UNIQUE (id)
);
-- [by hand]
SELECT 1;
