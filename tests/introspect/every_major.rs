//! The same facts on every major.

use pcrd::catalog::{
    Attribute, Catalog, ColumnRef, Compression, ConstraintKind, Persistence, PolicyCommand, QualifiedName, RangeDef,
    ReplicaIdentity, Storage, TableKind, TypeDef, TypeKind,
};
use pcrd::pg::introspect;
use pcrd::pg::local::installed_majors;
use pcrd::pg::shape::{SHAPE_SQL, expected_shape};

use crate::zoo::{Zoo, column, id, ids, table, zoo};

#[tokio::test]
async fn the_zoo_is_read_alike_on_every_major() {
    let majors = installed_majors();
    assert!(
        [10, 15, 18].iter().all(|major| majors.contains(major)),
        "`dev/test` fetches the servers; found {majors:?}"
    );
    for major in majors {
        let zoo = Zoo::open(major).await;
        let catalog = zoo.read().await;
        assert_eq!(catalog.server.major(), major);
        database(&catalog);
        columns(&catalog);
        keys_and_identities(&catalog);
        indexes(&catalog);
        constraints(&catalog);
        families(&catalog);
        sequences(&catalog);
        types(&catalog);
        dependents(&catalog);
        odd_names(&catalog);
        newer(&catalog, major);
        json_is_faithful(&catalog);
        restricted_is_the_same(&zoo, &catalog).await;
        shapes_agree(&zoo, &catalog).await;
    }
}

fn database(catalog: &Catalog) {
    assert!(catalog.server.system_identifier.parse::<u64>().is_ok());
    assert_eq!((catalog.server.database.as_str(), catalog.server.encoding.as_str()), ("postgres", "UTF8"));
    assert_eq!(catalog.schemas, ids(&["My \"Schema\";--", "public", "zoo"]));
    assert_eq!(catalog.extensions[&id("plpgsql")].schema, id("pg_catalog"));
    assert!(!catalog.tables.keys().any(|name| name.schema.as_str() == "pcrd"), "pcrd's own schema is left out");
    let kinds = [
        ("cheap", TableKind::View),
        ("stored", TableKind::MaterializedView),
        ("foreign_one", TableKind::Foreign),
        ("measured", TableKind::Partitioned),
        ("measured_2020", TableKind::Table),
    ];
    for (name, kind) in kinds {
        assert_eq!(table(catalog, name).kind, kind, "{name}");
    }
}

fn columns(catalog: &Catalog) {
    let all = table(catalog, "everything");
    assert!(all.column(&id("dropped")).is_none());
    assert_eq!(all.columns[4].name, id("price"), "physical order");
    let price = column(all, "price");
    assert_eq!((price.ty.sql.as_str(), price.ty.typmod), ("numeric(10,2)", (10 << 16) + 2 + 4));
    assert_eq!((price.default.as_deref(), price.comment.as_deref()), (Some("0.00"), Some("in \"EUR\"")));
    assert_eq!(price.grants, ["zoo_reader=w/postgres"]);
    let name = column(all, "name");
    assert!(name.not_null && name.collation.as_deref() == Some(&QualifiedName::new("pg_catalog", "C").unwrap()));
    assert_eq!(name.ty.sql, "character varying(40)");
    assert_eq!(column(all, "label").collation, None, "the domain's own collation");
    assert_eq!(column(all, "relabel").collation.as_deref(), Some(&QualifiedName::new("pg_catalog", "POSIX").unwrap()));
    assert_eq!(column(all, "moods").default.as_deref(), Some("'{ok}'::zoo.mood[]"));
    assert_eq!(column(all, "at").default.as_deref(), Some("'2020-01-01 21:04:05+00'::timestamp with time zone"));
    assert_eq!(column(all, "big").storage, Some(Storage::External));
    assert_eq!(column(all, "doc").storage, None);
    assert_eq!(column(all, "doc").compression, None);
    let kinds = [
        ("moods", TypeKind::Array),
        ("mood", TypeKind::Enum),
        ("amount", TypeKind::Domain),
        ("span", TypeKind::Range),
        ("vec", TypeKind::Base),
        ("doc", TypeKind::Base),
    ];
    for (name, kind) in kinds {
        assert_eq!(column(all, name).ty.kind, kind, "{name}");
    }
    assert_eq!(column(table(catalog, "has_row"), "r").ty.kind, TypeKind::Composite);
    let identity = column(all, "id").identity.as_ref().unwrap();
    assert!(identity.always && identity.sequence == zoo("everything_id_seq"));
    assert!(!column(all, "by_default").identity.as_ref().unwrap().always);
    assert_eq!(column(all, "from_loose").default.as_deref(), Some("nextval('zoo.loose'::regclass)"));
    assert!(table(catalog, "no_columns").columns.is_empty());
}

fn keys_and_identities(catalog: &Catalog) {
    let key = table(catalog, "parent_key").primary_key.as_ref().unwrap();
    assert_eq!((&key.name, &key.columns), (&id("parent_key_pkey"), &ids(&["b", "a"])));
    assert!(table(catalog, "nothing").primary_key.as_ref().unwrap().deferrable);
    let identities = [
        ("everything", ReplicaIdentity::Full),
        ("by_index", ReplicaIdentity::Index(id("by_index_identity"))),
        ("lost_identity", ReplicaIdentity::Nothing),
        ("nothing", ReplicaIdentity::Nothing),
        ("parent_key", ReplicaIdentity::Default),
    ];
    for (name, identity) in identities {
        assert_eq!(table(catalog, name).replica_identity, identity, "{name}");
    }
}

fn indexes(catalog: &Catalog) {
    let all = table(catalog, "everything");
    let plain = &all.indexes[&id("plain")];
    assert_eq!(
        plain.definition,
        "CREATE INDEX plain ON zoo.everything USING btree (ref_a DESC, ref_b COLLATE \"POSIX\" text_pattern_ops NULLS \
         FIRST) WITH (fillfactor='60')"
    );
    assert_eq!(plain.reloptions, ["fillfactor=60"]);
    let [first, second] = &plain.elements[..] else { panic!("two elements") };
    assert!(first.column == Some(id("ref_a")) && first.descending && first.nulls_first && first.opclass.is_none());
    assert!(!second.descending && second.nulls_first);
    assert_eq!(second.collation, Some(QualifiedName::new("pg_catalog", "POSIX").unwrap()));
    assert_eq!(second.opclass, Some(QualifiedName::new("pg_catalog", "text_pattern_ops").unwrap()));
    let expressions = &all.indexes[&id("expressions")];
    let texts: Vec<_> = expressions.elements.iter().map(|element| element.expression.as_deref()).collect();
    assert_eq!(texts, [None, Some("lower((name)::text)"), Some("((price + (ref_a)::numeric))"), Some("upper(big)")]);
    assert!(expressions.elements[2].descending && !expressions.elements[2].nulls_first);
    assert_eq!(expressions.elements[3].opclass, None);
    assert_eq!(
        expressions.expression_columns,
        ids(&["by_default", "price", "name", "mood", "big", "ref_a"]).into_iter().fold(
            Vec::new(),
            |mut kept, column| {
                kept.push(column);
                kept
            }
        ),
        "what expressions and predicate read, in physical order"
    );
    assert_eq!(expressions.predicate.as_deref(), Some("((mood <> 'sad'::zoo.mood) AND (by_default > 3))"));
    assert!(plain.expression_columns.is_empty());
    let collated = &all.indexes[&id("collated")];
    assert_eq!(collated.elements[0].collation, Some(QualifiedName::new("pg_catalog", "C").unwrap()));
    assert_eq!(collated.elements[1].opclass, Some(QualifiedName::new("pg_catalog", "bpchar_ops").unwrap()));
    let docs = &all.indexes[&id("docs")];
    assert_eq!((docs.method.as_str(), docs.comment.as_deref()), ("gin", Some("paths")));
    assert_eq!(docs.elements[0].opclass, Some(QualifiedName::new("pg_catalog", "jsonb_path_ops").unwrap()));
    let unique = &all.indexes[&id("unique_name")];
    assert!(unique.unique && !unique.immediate && unique.valid && unique.constraint == Some(id("unique_name")));
    assert!(all.indexes[&id("everything_pkey")].immediate);
    assert_eq!(all.indexes[&id("no_overlap")].constraint, Some(id("no_overlap")));
}

fn constraints(catalog: &Catalog) {
    let all = table(catalog, "everything");
    let kind = |name: &str| all.constraints[&id(name)].kind;
    assert_eq!(kind("everything_pkey"), ConstraintKind::PrimaryKey);
    assert_eq!(kind("unique_name"), ConstraintKind::Unique);
    assert_eq!(kind("no_overlap"), ConstraintKind::Exclude);
    assert_eq!(kind("checked"), ConstraintKind::Trigger);
    let check = &all.constraints[&id("positive_price")];
    assert_eq!(check.columns, ids(&["price", "name"]));
    assert!(check.no_inherit && check.validated);
    assert_eq!(check.expression.as_deref(), Some("((price >= (0)::numeric) AND ((name)::text <> ''::text))"));
    assert!(!all.constraints[&id("later")].validated);
    let unique = &all.constraints[&id("unique_name")];
    assert!(unique.deferrable && unique.initially_deferred && unique.index == Some(id("unique_name")));
    assert!(!unique.no_inherit, "connoinherit says something else for keys");
    let composite = &all.constraints[&id("to_parent")];
    let far = composite.references.as_ref().unwrap();
    assert_eq!((&far.table, &far.columns), (&zoo("parent_key"), &ids(&["a", "b"])));
    assert_eq!(
        (&composite.columns, far.actions.as_str()),
        (&ids(&["ref_a", "ref_b"]), "MATCH FULL ON DELETE RESTRICT")
    );
    assert_eq!((composite.comment.as_deref(), &composite.index), (Some("composite"), &None));
    let own = all.constraints[&id("everything_self_fkey")].references.as_ref().unwrap();
    assert_eq!(own.actions, "ON UPDATE CASCADE ON DELETE SET NULL");
    for (name, table) in &catalog.tables {
        for (constraint, content) in &table.constraints {
            assert!(!content.definition.starts_with("NOT NULL"), "{constraint} of {name} belongs to the column");
        }
    }
}

fn families(catalog: &Catalog) {
    assert_eq!(table(catalog, "daughter").parents, [zoo("mother")]);
    assert_eq!(table(catalog, "mother").children, [zoo("daughter")]);
    assert_eq!(table(catalog, "measured").partition_key.as_deref(), Some("RANGE (day)"));
    assert_eq!(
        table(catalog, "measured_2020").partition_bound.as_deref(),
        Some("FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')")
    );
    let all = table(catalog, "everything");
    assert_eq!(all.reloptions, ["autovacuum_enabled=off", "fillfactor=70", "toast.autovacuum_enabled=off"]);
    assert_eq!(all.comment.as_deref(), Some("all of it\non two lines"));
    assert_eq!(all.owner, id("postgres"));
    let mut sorted = all.grants.clone();
    sorted.sort();
    assert!(all.grants.contains(&"zoo_reader=r/postgres".to_owned()) && all.grants == sorted, "{:?}", all.grants);
    assert!(table(catalog, "mother").grants.is_empty());
    let stamp = &all.triggers[&id("stamp")];
    assert!(stamp.enabled == 'A' && stamp.definition.contains("BEFORE INSERT OR UPDATE OF price ON zoo.everything"));
    let parts = pcrd::sql::trigger::parse(&stamp.definition).unwrap();
    assert_eq!((parts.columns.as_slice(), parts.function), (&[id("price")][..], zoo("stamp")));
    let stamps = &catalog.trigger_functions.as_ref().unwrap()[&zoo("stamp")];
    let body = pcrd::sql::function::parse(stamps.definition.as_ref().unwrap()).unwrap().body;
    assert_eq!((body.as_str(), &stamps.owner), ("BEGIN RETURN NEW; END", &id("postgres")));
    assert_eq!(all.triggers.len(), 2, "those behind foreign keys are no triggers of the user");
    let guarded = table(catalog, "guarded");
    assert!(guarded.row_security && guarded.row_security_forced && !all.row_security);
    let own = &guarded.policies[&id("own")];
    assert_eq!(
        (own.restrictive, own.command, own.roles.as_slice(), own.using.as_deref(), &own.check),
        (false, PolicyCommand::All, &[][..], Some("(owner_name = CURRENT_USER)"), &None)
    );
    assert_eq!((own.columns.as_slice(), own.functions.len(), own.others.len()), (&[id("owner_name")][..], 0, 0));
    let writes = &guarded.policies[&id("wr\"ites")];
    assert_eq!(
        (writes.restrictive, writes.command, writes.roles.as_slice(), &writes.using, writes.check.is_some()),
        (true, PolicyCommand::Update, &[id("postgres"), id("zoo_reader")][..], &None, true)
    );
    assert_eq!(writes.functions, ["zoo.may(integer, zoo.mood[])"]);
    assert_eq!((writes.columns.as_slice(), writes.others.len()), (&[id("k")][..], 0));
    let through = &table(catalog, "by_index").policies[&id("through_guarded")];
    assert_eq!(
        (through.columns.as_slice(), through.others.as_slice()),
        (&[id("k")][..], &["table zoo.guarded".to_owned()][..])
    );
    let functions = catalog.functions.as_ref().unwrap();
    assert!(functions.contains("zoo.may(integer, zoo.mood[])") && !functions.contains("zoo.stamp()"), "{functions:?}");
    assert_eq!(table(catalog, "unlogged").persistence, Persistence::Unlogged);
    assert!(!all.subscribed);
    let mother = table(catalog, "mother").stats.as_ref().unwrap();
    assert_eq!((mother.rows_estimate, mother.column_widths[&id("k")]), (Some(1000), 4));
    assert_eq!(mother.null_ppm[&id("note")], 750_000);
    assert!(mother.correlation_ppm[&id("k")] > 990_000, "{:?}", mother.correlation_ppm);
    assert!(mother.table_bytes >= 8192);
    assert_eq!(table(catalog, "everything").stats.as_ref().unwrap().rows_estimate, None, "never analysed");
    assert!(table(catalog, "cheap").stats.is_none());
}

fn sequences(catalog: &Catalog) {
    let loose = &catalog.sequences[&zoo("loose")];
    assert_eq!(loose.ty, "integer");
    assert_eq!((loose.start, loose.increment, loose.min, loose.max, loose.cache), (50, -3, -900, 900, 7));
    assert!(loose.cycle && !loose.identity && loose.owned_by.is_none());
    let at = |column: &str| ColumnRef { table: zoo("everything"), column: id(column) };
    assert_eq!(loose.used_by, [at("from_loose")]);
    assert_eq!(loose.comment.as_deref(), Some("used, not owned"));
    assert!(loose.grants.contains(&"zoo_reader=U/postgres".to_owned()));
    let serial = &catalog.sequences[&zoo("everything_serial_one_seq")];
    assert_eq!(
        (serial.owned_by.as_ref(), serial.used_by.as_slice()),
        (Some(&at("serial_one")), &[at("serial_one")][..])
    );
    assert!(serial.cache == 3 && !serial.identity);
    let identity = &catalog.sequences[&zoo("everything_id_seq")];
    assert!(identity.identity && identity.increment == 10 && identity.start == 5 && identity.ty == "bigint");
    assert_eq!(identity.owned_by, Some(at("id")));
    assert!(identity.used_by.is_empty());
}

fn types(catalog: &Catalog) {
    let labels = ["sad", "meh", "ok", "it's \"fine\""].map(str::to_owned).to_vec();
    assert_eq!(catalog.types[&zoo("mood")], TypeDef::Enum(labels));
    let TypeDef::Domain { base, not_null, checks, default, collation } = &catalog.types[&zoo("positive")] else {
        panic!("a domain")
    };
    assert_eq!((base.as_str(), *not_null, checks.len()), ("numeric(12,2)", true, 1));
    assert_eq!((default.as_deref(), collation), (Some("1.5"), &None));
    let TypeDef::Domain { default, collation, .. } = &catalog.types[&zoo("c_text")] else { panic!("a domain") };
    let c = QualifiedName::new("pg_catalog", "C").unwrap();
    assert_eq!((default, collation), (&None, &Some(c.clone())));
    assert_eq!(checks[&id("positive_check")], "CHECK ((VALUE > (0)::numeric))");
    assert_eq!(
        catalog.types[&zoo("point3")],
        TypeDef::Composite(vec![
            Attribute { name: id("x"), ty: "double precision".to_owned(), collation: None },
            Attribute { name: id("Y z"), ty: "zoo.mood".to_owned(), collation: None },
            Attribute { name: id("c"), ty: "text".to_owned(), collation: Some(c) },
        ])
    );
    let multirange = |name| (catalog.server.major() >= 14).then(|| zoo(name));
    assert_eq!(
        catalog.types[&zoo("span")],
        TypeDef::Range(RangeDef { multirange: multirange("span_multirange"), ..RangeDef::over("double precision") })
    );
    let pg = |name| Some(QualifiedName::new("pg_catalog", name).unwrap());
    assert_eq!(
        catalog.types[&zoo("chosen")],
        TypeDef::Range(RangeDef {
            opclass: pg("text_pattern_ops"),
            collation: pg("C"),
            multirange: multirange("chosen_multirange"),
            ..RangeDef::over("text")
        })
    );
    let TypeDef::Range(measured) = &catalog.types[&zoo("metres")] else { panic!("a range") };
    assert_eq!((&measured.subtype_diff, &measured.opclass), (&pg("float8mi"), &None));
    assert_eq!(catalog.types.len(), 8, "no row types, arrays or multiranges: {:?}", catalog.types.keys());
}

fn dependents(catalog: &Catalog) {
    let has = |kind: &str, name: &str, table: &str| {
        let found = catalog.dependents.iter().any(|it| it.kind == kind && it.name == name && it.table == zoo(table));
        assert!(found, "{kind} {name} of {table} in {:#?}", catalog.dependents);
    };
    has("view", "zoo.cheap", "everything");
    has("materialized view", "zoo.stored", "everything");
    has("rule", "quiet on zoo.mother", "mother");
    has("policy", "through_guarded on zoo.by_index", "guarded");
    has("function", "zoo.takes_row(zoo.mother)", "mother");
    has("column", "zoo.has_row.r", "mother");
    has("column", "zoo.has_row.rs", "mother");
    has("publication", "theirs", "mother");
    let names = |name: &str| catalog.dependents.iter().any(|it| it.name == name);
    assert!(!names("pcrd_ours"), "our own publication is no finding");
    assert!(!catalog.dependents.iter().any(|it| it.kind == "foreign key"), "keys among tables of the catalog");
}

fn odd_names(catalog: &Catalog) {
    let name = QualifiedName::new("My \"Schema\";--", "a\"b\nc").unwrap();
    let odd = &catalog.tables[&name];
    let sixty_three = "sixty_three_bytes_sixty_three_bytes_sixty_three_bytes_sixty_thr";
    assert_eq!(sixty_three.len(), 63);
    let columns: Vec<&str> = odd.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        columns,
        ["x\"y", "new\nline", "tab\t\\backslash", "größe→𝄞", ";DROP TABLE x;--", sixty_three, "select"]
    );
    assert_eq!(odd.primary_key.as_ref().unwrap().columns, ids(&["x\"y"]));
    assert_eq!(odd.indexes[&id("i\"x")].expression_columns, ids(&["x\"y", ";DROP TABLE x;--"]));
    assert_eq!(odd.columns[0].comment.as_deref(), Some("$$; -- '\""));
    assert_eq!(odd.constraints[&id("c\"k")].columns, ids(&["x\"y"]));
    let used: Vec<_> = catalog.sequences.values().filter_map(|sequence| sequence.owned_by.as_ref()).collect();
    assert!(used.contains(&&ColumnRef { table: name, column: id("select") }));
}

/// What only newer servers have.
fn newer(catalog: &Catalog, major: u32) {
    if major >= 11 {
        let key = table(catalog, "with_include").primary_key.as_ref().unwrap();
        assert_eq!((&key.columns, &key.include), (&ids(&["id"]), &ids(&["payload", "more"])));
        let index = &table(catalog, "with_include").indexes[&key.name];
        assert_eq!((index.elements.len(), &index.include), (1, &ids(&["payload", "more"])));
        assert_eq!(table(catalog, "deep").children, [zoo("deep_1"), zoo("deep_rest")]);
        assert_eq!(table(catalog, "deep_rest").partition_bound.as_deref(), Some("DEFAULT"));
    }
    if major >= 12 {
        let generated = column(table(catalog, "computed"), "b").generated.as_ref().unwrap();
        assert!(generated.stored && generated.expr == "(a * 2)");
        assert_eq!(column(table(catalog, "computed"), "b").default, None);
        let keys = &table(catalog, "refers_deep").constraints;
        assert_eq!(keys.len(), 1, "entries for the partitions are part of the key: {keys:?}");
    }
    if major >= 13 {
        let element = &table(catalog, "signed").indexes[&id("signed_t")].elements[0];
        assert_eq!(element.opclass_options, ["siglen=64"]);
        assert_eq!(element.opclass, Some(QualifiedName::new("pg_catalog", "tsvector_ops").unwrap()));
    }
    if major >= 14 {
        let packed = table(catalog, "packed");
        assert_eq!(column(packed, "t").compression, Some(Compression::Pglz));
        assert_eq!(column(packed, "m").ty.kind, TypeKind::Multirange);
        assert!(catalog.dependents.iter().any(|it| it.name == "zoo.sum_loose()" && it.table == zoo("mother")));
    }
    if major >= 15 {
        assert!(table(catalog, "nulls_same").indexes[&id("nulls_same_a_b_key")].nulls_not_distinct);
        let far = table(catalog, "everything").constraints[&id("some_null")].references.as_ref().unwrap();
        assert_eq!(far.actions, "ON DELETE SET NULL (ref_b)");
        assert!(catalog.dependents.iter().any(|it| it.name == "whole_schema" && it.table == zoo("nothing")));
    }
    if major >= 17 {
        let sequence = &column(table(catalog, "numbered_1"), "id").identity.as_ref().unwrap().sequence;
        assert_eq!(*sequence, zoo("numbered_id_seq"), "a partition draws from the table's sequence");
    }
    if major >= 18 {
        let lazy = table(catalog, "lazy");
        assert!(!column(lazy, "b").generated.as_ref().unwrap().stored);
        assert!(!column(lazy, "c").not_null, "old rows may still have NULL");
        let unproven = "not-null constraint, not validated";
        assert!(catalog.dependents.iter().any(|it| it.kind == unproven && it.name == "c_there on zoo.lazy"));
    }
}

fn json_is_faithful(catalog: &Catalog) {
    let text = serde_json::to_string(catalog).unwrap();
    assert_eq!(&serde_json::from_str::<Catalog>(&text).unwrap(), catalog);
}

async fn restricted_is_the_same(zoo_server: &Zoo, catalog: &Catalog) {
    let names = [zoo("everything"), zoo("has_row"), zoo("no such table")];
    let part = introspect::tables(&zoo_server.client, &names).await.unwrap();
    assert_eq!(part.tables.keys().collect::<Vec<_>>(), [&zoo("everything"), &zoo("has_row")]);
    for (name, table) in &part.tables {
        assert_eq!(table, &catalog.tables[name]);
    }
    let sequences: Vec<_> = part.sequences.keys().map(|name| name.name.as_str()).collect();
    assert_eq!(sequences, ["everything_by_default_seq", "everything_id_seq", "everything_serial_one_seq", "loose"]);
    let types: Vec<_> = part.types.keys().map(|name| name.name.as_str()).collect();
    assert_eq!(types, ["c_text", "mood", "positive", "span"], "those that columns use");
    for (name, sequence) in &part.sequences {
        assert_eq!(sequence, &catalog.sequences[name]);
    }
    let parent = introspect::tables(&zoo_server.client, &[zoo("parent_key")]).await.unwrap();
    let outside = |name: &str| parent.dependents.iter().any(|it| it.kind == "foreign key" && it.name == name);
    assert!(outside("to_parent on zoo.everything"), "a key from outside is a finding");
    let nothing = introspect::tables(&zoo_server.client, &[]).await.unwrap();
    assert!(nothing.tables.is_empty() && nothing.sequences.is_empty() && nothing.types.is_empty());
}

async fn shapes_agree(zoo_server: &Zoo, catalog: &Catalog) {
    for (name, table) in &catalog.tables {
        let row = zoo_server.client.query_one(SHAPE_SQL, &[&name.schema.as_str(), &name.name.as_str()]).await.unwrap();
        let line: String = row.get(0);
        assert_eq!(line, expected_shape(table), "{name} on {}", catalog.server.version_num);
        assert!(!line.contains('\n'));
    }
}
