//! The public items of this crate, from its own source: what is declared, not what a test remembers.
//!
//! It reads every file under `src` and looks at items, at the two macros that declare constants, and at
//! nothing else. Test modules and private items are left out.

use std::fs;
use std::path::Path;

use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Field, Ident, Item, LitInt, Token, Type, Visibility};

#[derive(Default)]
pub struct Source {
    /// Module and name of every public constant.
    pub consts: Vec<(String, String)>,
    /// Module and name of every public struct and union.
    pub structs: Vec<(String, String)>,
    /// Struct and name of every public field.
    pub fields: Vec<(String, String)>,
}

impl Source {
    pub fn read() -> Self {
        let mut source = Self::default();
        source.directory(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None);
        source
    }

    /// Reads a directory. A module is named by the first step below `src`.
    fn directory(&mut self, path: &Path, module: Option<&str>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let module = module.unwrap_or(&stem);
            if path.is_dir() {
                self.directory(&path, Some(module));
            } else if stem != "tests" {
                let text = fs::read_to_string(&path).unwrap();
                let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                file.items.iter().for_each(|item| self.item(module, item));
            }
        }
    }

    fn item(&mut self, module: &str, item: &Item) {
        match item {
            Item::Const(item) if public(&item.vis) => self.consts.push((module.to_owned(), item.ident.to_string())),
            Item::Struct(item) if public(&item.vis) => self.fields_of(module, &item.ident, item.fields.iter()),
            Item::Union(item) if public(&item.vis) => {
                self.fields_of(module, &item.ident, item.fields.named.iter());
            }
            Item::Macro(item) if item.mac.path.is_ident("numbered") => {
                let Numbered(names) = item.mac.parse_body().expect("the form of numbered!");
                self.consts.extend(names.into_iter().map(|name| (module.to_owned(), name)));
            }
            // Other items declare no constants or structs, but for these two, in which none may hide.
            Item::Macro(item) => {
                let known = ["macro_rules", "layout", "sqe_fields"].iter().any(|name| item.mac.path.is_ident(name));
                assert!(known, "{module}: a macro that this test does not know");
            }
            Item::Mod(item) => {
                let only_tests = item.attrs.iter().any(|attr| {
                    attr.path().is_ident("cfg") && attr.parse_args::<Ident>().is_ok_and(|cfg| cfg == "test")
                });
                assert!(item.content.is_none() || only_tests, "{module}: an inline module");
            }
            _ => {}
        }
    }

    fn fields_of<'a>(&mut self, module: &str, name: &Ident, fields: impl Iterator<Item = &'a Field>) {
        self.structs.push((module.to_owned(), name.to_string()));
        for field in fields.filter(|field| public(&field.vis)) {
            let field = field.ident.as_ref().expect("a named field").to_string();
            let field = field.strip_prefix("r#").unwrap_or(&field).to_owned();
            self.fields.push((name.to_string(), field));
        }
    }
}

fn public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The names that `numbered!` declares.
struct Numbered(Vec<String>);

impl Parse for Numbered {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let documented = |input: ParseStream<'_>| -> syn::Result<String> {
            input.call(Attribute::parse_outer)?;
            Ok(input.parse::<Ident>()?.to_string())
        };
        input.parse::<Type>()?;
        input.parse::<Token![,]>()?;
        let mut names = vec![documented(input)?];
        input.parse::<Token![,]>()?;
        names.push(documented(input)?);
        input.parse::<Token![;]>()?;
        while !input.is_empty() {
            names.push(documented(input)?);
            input.parse::<Token![=]>()?;
            input.parse::<LitInt>()?;
            input.parse::<Token![,]>()?;
        }
        Ok(Self(names))
    }
}
