-- kinds: fk, graph, unique, not_null. PostgreSQL 15's SET NULL (column), on a reference to a unique constraint.
-- [source]
CREATE TABLE tenant (id int PRIMARY KEY);
CREATE TABLE u (tenant int NOT NULL REFERENCES tenant, id int PRIMARY KEY);
CREATE TABLE post (id int PRIMARY KEY, tenant int, author int);
INSERT INTO tenant VALUES (1), (2);
INSERT INTO u SELECT 1 + n % 2, n FROM generate_series(1, 8) AS n;
INSERT INTO post SELECT n, 1 + n % 2, nullif(n, 5) FROM generate_series(1, 8) AS n;
-- [desired]
CREATE TABLE tenant (id int PRIMARY KEY);
CREATE TABLE u (tenant int NOT NULL REFERENCES tenant, id int PRIMARY KEY, UNIQUE (tenant, id));
CREATE TABLE post (
  id int PRIMARY KEY,
  tenant int NOT NULL REFERENCES tenant ON DELETE CASCADE,
  author int,
  FOREIGN KEY (tenant, author) REFERENCES u (tenant, id) ON DELETE SET NULL (author)
);
-- [by hand]
SELECT 1;
