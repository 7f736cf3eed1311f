-- kinds: merge, fk. The row that a row refers to must be one of its own source, not one of the other with the same key.
-- [source]
CREATE TABLE orders_eu (id int PRIMARY KEY);
CREATE TABLE orders_us (id int PRIMARY KEY);
CREATE TABLE lines_eu (id int PRIMARY KEY, of int);
CREATE TABLE lines_us (id int PRIMARY KEY, of int);
INSERT INTO orders_eu VALUES (1), (2);
INSERT INTO orders_us VALUES (2), (3);
INSERT INTO lines_eu VALUES (1, 1), (2, 2);
INSERT INTO lines_us VALUES (1, 1), (2, 2), (3, NULL);
-- [desired]
-- pcrd: merged_from orders_eu with region = 'eu'
-- pcrd: merged_from orders_us with region = 'us'
CREATE TABLE orders (region text, id int, PRIMARY KEY (region, id));
-- pcrd: merged_from lines_eu with region = 'eu'
-- pcrd: merged_from lines_us with region = 'us'
CREATE TABLE lines (region text, id int, of int, PRIMARY KEY (region, id), CONSTRAINT lines_fk FOREIGN KEY (region, of) REFERENCES orders (region, id));
-- [refused]
-- public.lines_us.lines_fk: 1 of 2 rows without the row of public.orders_us that the new foreign key lines_fk demands
