//! `pcrd analyze` and `pcrd readiness`, offline.

use insta::assert_snapshot;
use serde_json::Value;

use crate::environment::Environment;

#[test]
fn analyze_shows_both_models() {
    let env = Environment::of_case("widen_id_and_pack");
    assert_snapshot!(env.run_expecting(0, &["analyze", "--source-catalog", "source.json"]).stdout, @r"
    Typical row, as PostgreSQL lays it out (header and statistics included):
     table                  rows     now   packed          saved      in all
     public.listings   not known   176 B    160 B   16 B (9.1 %)   not known
     public.users      not known   144 B    136 B    8 B (5.6 %)   not known

    Column widths alone (no header, variable-length values as 4 B):
     table             current   optimal           saved       padding
     public.listings      68 B      56 B   12 B (17.6 %)   13 B -> 1 B
     public.users         24 B      24 B     0 B (0.0 %)    3 B -> 3 B

    packed order of public.listings: listed_at, latitude, longitude, id, user_id, agent_id, bedrooms, active, status_code, title, list_price, legacy_notes
    packed order of public.users: created_at, id, active, email, name
    ");
    let ran = env.run_expecting(0, &["--json", "analyze", "-t", "public.users", "--source-catalog", "source.json"]);
    assert_snapshot!(ran.stdout, @r#"[{"table":"public.users","rows_estimate":null,"row_bytes":144,"row_bytes_packed":136,"packed_order":["created_at","id","active","email","name"],"compat":{"current":24,"optimal":24,"saved":0,"padding":3,"padding_optimal":3}}]"#);
    let ran = env.run_expecting(64, &["analyze", "--table", "lisings", "--source-catalog", "source.json"]);
    assert_snapshot!(ran.stderr, @"  × the source has no table public.lisings; did you mean `public.listings`?");
}

#[test]
fn compare_target_follows_renames_and_packing() {
    let env = Environment::of_case("widen_id_and_pack");
    let args = ["analyze", "--compare-target", "--source-catalog", "source.json", "--target-catalog", "target.json"];
    assert_snapshot!(env.run_expecting(0, &args).stdout, @r"
    public.listings => target:public.listings (planned)
     source                                  target                                  change
     id integer                              id bigint                               retyped
     listed_at timestamp without time zone   listed_at timestamp without time zone
     latitude double precision               latitude double precision
     longitude double precision              longitude double precision
     user_id integer                         user_id bigint                          retyped
                                             updated_at timestamp with time zone     added
     agent_id integer                        agent_id integer
     bedrooms smallint                       bedrooms smallint
     active boolean                          active boolean
     status_code character varying(20)       listing_status character varying(20)    renamed
     title text                              title text
     list_price numeric(12,2)                list_price_precise numeric(18,4)        renamed, retyped
     legacy_notes text                                                               dropped
    typical row: 176 B -> 144 B; column widths alone: 68 B -> 68 B

    public.users => target:public.users (planned)
     source                                   target                                   change
     id integer                               id bigint                                retyped
     active boolean                           active boolean
     created_at timestamp without time zone   created_at timestamp without time zone
     email character varying(255)             email character varying(255)
     name text                                name text
    typical row: 144 B -> 152 B; column widths alone: 24 B -> 32 B
    ");
}

#[test]
fn readiness_lists_what_is_planned_and_what_is_left() {
    let env = Environment::of_case("widen_id_and_pack");
    let args = ["readiness", "--source-catalog", "source.json", "--target-catalog", "target.json"];
    assert_snapshot!(env.run_expecting(0, &args).stdout, @r"
     status         kind          object
     planned        table         public.listings
     planned        table         public.users
     planned        sequence      public.listings_id_seq
     planned        sequence      public.users_id_seq
     planned        index         public.listings.listings_lower_title_idx
     planned        index         public.listings.listings_status_idx
     planned        constraint    public.listings.listings_price_check
     planned        comment       public.listings.listing_status
     planned        constraint    public.users.users_email_key
     planned        constraint    public.listings.listings_user_id_fkey
     planned        validation    public.listings.listings_user_id_fkey
     planned        comment       public.users
     planned        default       public.listings.id
     planned        default       public.listings.updated_at
     planned        default       public.users.id
     needs review   foreign key   public.listings.listings_agent_id_fkey      public.agents is not migrated
     needs review   grant         SELECT to reader on table public.listings   the target's catalog was saved without its roles
     needs review   index         public.listings.listings_notes_idx          it reads the dropped column legacy_notes
     needs review   owner         app of table public.listings                the target's catalog was saved without its roles
     needs review   owner         app of table public.users                   the target's catalog was saved without its roles
     needs review   trigger       public.listings.listings_touch              the target's catalog was saved without its functions
     needs review   view          view public.live_listings                   the source's catalog was saved without its query

    0 present, 15 planned, 7 to review by you
    ");
}

#[test]
fn readiness_sees_what_is_there() {
    let env = Environment::of_case("widen_id_and_pack");
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(env.path().join(name)).unwrap()).unwrap()
    };
    let (source, mut target) = (read("source.json"), read("target.json"));
    target["tables"]["public.users"] = source["tables"]["public.users"].clone();
    env.write("target.json", &target.to_string());
    let args = ["readiness", "--json", "--source-catalog", "source.json", "--target-catalog", "target.json"];
    let items: Vec<Value> = serde_json::from_str(&env.run_expecting(0, &args).stdout).unwrap();
    let status = |kind: &str, address: &str| {
        let item = items.iter().find(|item| item["kind"] == kind && item["address"] == address).unwrap();
        assert!(item["detail"].as_str().unwrap().contains("CREATE") || kind == "constraint", "{item}");
        item["status"].clone()
    };
    assert_eq!(status("table", "public.users"), "present");
    assert_eq!(status("constraint", "public.users.users_email_key"), "present");
    assert_eq!(status("table", "public.listings"), "planned");
    assert_eq!(status("index", "public.listings.listings_status_idx"), "planned");
}
