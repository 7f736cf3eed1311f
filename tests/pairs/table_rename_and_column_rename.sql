-- kinds: table_rename, rename, widen, fk, graph. A pair of tables is renamed, and the reference between them follows.
-- [source]
CREATE TABLE cust (id int PRIMARY KEY, nm varchar(20));
CREATE TABLE ord (id int PRIMARY KEY, cust_id int NOT NULL REFERENCES cust ON UPDATE CASCADE);
INSERT INTO cust SELECT n, repeat('é', n) FROM generate_series(1, 15) AS n;
INSERT INTO ord SELECT n, 1 + n % 15 FROM generate_series(1, 30) AS n;
-- [desired]
-- pcrd: renamed_from cust
CREATE TABLE customers (
  id bigint CONSTRAINT customers_pkey PRIMARY KEY,
  name text -- pcrd: renamed_from nm
);
-- pcrd: renamed_from ord
CREATE TABLE orders (
  id bigint CONSTRAINT orders_pkey PRIMARY KEY,
  customer_id bigint NOT NULL CONSTRAINT orders_customer_fk REFERENCES customers ON UPDATE CASCADE -- pcrd: renamed_from cust_id
);
-- [by hand]
ALTER TABLE cust RENAME TO customers;
ALTER TABLE customers RENAME nm TO name;
ALTER TABLE ord RENAME TO orders;
ALTER TABLE orders RENAME cust_id TO customer_id;
