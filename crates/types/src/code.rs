//! The table of error codes. A new failure is a new row here, not a new string somewhere else.

macro_rules! codes {
    ($($name:ident = $wire:literal, $message:literal;)*) => {
        /// What went wrong, as clients see it. The three digits of the wire code are its HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $wire, "`: ", $message)] $name,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as it is sent, for instance `PR404-DV-0001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $wire,)* }
            }

            /// The message; `{0}`, `{1}` are places for parameters.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Code::$name => $message,)* }
            }
        }
    };
}

impl Code {
    /// The HTTP status that the code carries in its name (`PR404-..` is 404).
    #[must_use]
    pub fn status(self) -> u16 {
        self.as_str()
            .get(2..5)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(500)
    }
}

codes! {
    JsonParse = "PR400-OD-0001", "The body is not the JSON that is expected here.";
    FilterParse = "PR400-OD-0003", "The $filter expression cannot be understood.";
    KeyParse = "PR400-OD-0004", "The key in the URL is malformed.";
    FormatUnknown = "PR400-OD-0005", "$format [{0}] is not offered.";
    FieldFormat = "PR400-OD-0006", "The value of [{0}] has a wrong type or format.";
    FieldUnknown = "PR400-OD-0007", "[{0}] cannot be set here.";
    NoSuchAssociation = "PR400-OD-0008", "There is no such association.";
    FieldRequired = "PR400-OD-0009", "[{0}] is required.";
    KeyForNavigation = "PR400-OD-0010", "A target key cannot be given here.";
    KeyForLinksMissing = "PR400-OD-0011", "A target key is missing in the URL.";
    FieldStructure = "PR400-OD-0012", "[{0}] cannot take this JSON value.";
    InlineCount = "PR400-OD-0013", "$inlinecount [{0}] is neither allpages nor none.";
    OrderbyParse = "PR400-OD-0015", "The $orderby expression cannot be understood.";
    KeyNull = "PR400-OD-0016", "The key must not be null.";
    SelectParse = "PR400-OD-0017", "The $select expression cannot be understood.";
    BatchHeader = "PR400-OD-0021", "The header [{0}] of a part of the batch is missing or wrong.";
    BatchNested = "PR400-OD-0022", "A change set cannot contain a change set.";
    BatchBody = "PR400-OD-0023", "The body of the batch is malformed.";
    ParentMissing = "PR400-OD-0024", "The named parent [{0}] does not exist.";
    ExpandUnknown = "PR400-OD-0025", "$expand names [{0}], which is not a navigation property.";
    ExpandParse = "PR400-OD-0026", "The $expand expression cannot be understood.";
    LinkKeyParse = "PR400-OD-0028", "The target key in the URL is malformed.";
    QueryRange = "PR400-OD-0029", "The value of [{0}] is out of range: [{1}].";
    BatchTooMany = "PR400-OD-0030", "Too many requests in the batch: {0}.";
    EndsBothOne = "PR400-OD-0031", "Two ends that are both of multiplicity 1 cannot be linked.";
    PropertyLimit = "PR400-OD-0032", "The limit for properties of an entity type is exceeded.";
    EntityTypeLimit = "PR400-OD-0033", "The limit for entity types is exceeded.";
    BatchPath = "PR400-OD-0034", "The batch contains a request with an unusable path: {0}.";
    BatchMethod = "PR400-OD-0035", "The method [{0}] cannot be used in a batch.";
    QueryParse = "PR400-OD-0036", "The value of [{0}] is not an integer.";
    BatchTopSum = "PR400-OD-0037", "The sum of $top of all parts of the batch is too large.";
    LinkLimit = "PR400-OD-0038", "The limit for links of an entity is exceeded.";
    ExpandTooMany = "PR400-OD-0039", "Too many navigation properties in $expand.";
    OrderbyList = "PR400-OD-0040", "$orderby cannot use a list property.";
    HeaderIllegal = "PR400-OD-0041", "The header [{0}] has an illegal value: [{1}].";
    SchemaChange = "PR400-OD-0042", "This change is not supported: {0}.";
    FilterOperator = "PR400-OD-0043", "The $filter expression uses an operator that is not supported.";
    FilterFunction = "PR400-OD-0044", "The $filter expression uses a function that is not supported.";
    FilterProperty = "PR400-OD-0045", "$filter names [{0}], which is not a property.";
    FilterType = "PR400-OD-0046", "The literal that $filter compares with [{0}] has the wrong type.";
    FilterRange = "PR400-OD-0047", "The literal that $filter compares with [{0}] is out of range.";
    FilterEscape = "PR400-OD-0048", "The string literal [{0}] of $filter is malformed.";
    CellUrlFormat = "PR400-OD-0049", "The value of [{0}] is not a cell URL.";
    SchemaUriFormat = "PR400-OD-0050", "The value of [{0}] is not a schema URI.";
    QueryRefused = "PR400-OD-0051", "The query exceeds what the store can answer.";
    LinkSourceMissing = "PR404-OD-0000", "The entity or link does not exist.";
    NoSuchSet = "PR404-OD-0001", "The entity set does not exist.";
    NoSuchEntity = "PR404-OD-0002", "The entity does not exist.";
    NoSuchNavigation = "PR404-OD-0003", "The navigation property does not exist.";
    NotAcceptableOdata = "PR406-OD-0001", "The media type [{0}] is not offered.";
    HasRelated = "PR409-OD-0001", "Other objects depend on this one.";
    LinkExists = "PR409-OD-0002", "The link exists already.";
    EntityExists = "PR409-OD-0003", "An entity with this key exists already.";
    UnlinkCollides = "PR409-OD-0004", "Removing the link would collide with [{0}].";
    LinkCollides = "PR409-OD-0005", "Adding the link would collide with [{0}].";
    TypesRelated = "PR409-OD-0006", "The entity types are related already.";
    LoginsTooMany = "PR429-AU-0001", "Too many logins from this address failed. Try again in {0} seconds.";
    EntityTagMismatch = "PR412-OD-0002", "The entity tag does not match.";
    SchemaDuplicate = "PR500-OD-0001", "The property [{0}] is stored twice.";
    OdataInconsistent = "PR500-OD-0002", "The stored data is inconsistent.";
    DavXml = "PR400-DV-0001", "The body is not the XML that is expected here.";
    DavXmlContent = "PR400-DV-0002", "The content of the XML body is not valid.";
    Depth = "PR400-DV-0003", "The Depth [{0}] is not allowed here.";
    AclRoleMissing = "PR400-DV-0004", "The role [{0}] does not exist.";
    AclBoxMissing = "PR400-DV-0005", "The box [{0}] of the role does not exist.";
    AclInvalid = "PR400-DV-0006", "The access control list is not valid: {0}.";
    TooManyChildren = "PR400-DV-0007", "The collection has as many members as it may have.";
    TooDeep = "PR400-DV-0008", "The collection would be nested too deeply.";
    HeaderInvalid = "PR400-DV-0009", "The header [{0}] has an invalid value: [{1}].";
    HeaderMissing = "PR400-DV-0010", "The header [{0}] is missing.";
    MoveServiceSource = "PR400-DV-0011", "The source collection of a service cannot be moved.";
    MoveOntoCollection = "PR400-DV-0012", "A collection cannot be overwritten.";
    MoveIntoOdata = "PR400-DV-0013", "Nothing can be moved into an OData collection.";
    MoveBelowFile = "PR400-DV-0014", "Nothing can be moved below a file.";
    MoveBox = "PR400-DV-0015", "A box cannot be moved.";
    MoveIntoService = "PR400-DV-0016", "Nothing can be moved directly into a service collection.";
    MoveOntoServiceSource = "PR400-DV-0017", "The source collection of a service cannot be overwritten.";
    MoveCollectionIntoServiceSource = "PR400-DV-0018", "A collection cannot be moved into the source collection of a service.";
    PropfindInfinity = "PR403-DV-0001", "PROPFIND of infinite depth is not offered.";
    CollectionNotEmpty = "PR403-DV-0003", "The collection is not empty.";
    ResourceName = "PR403-DV-0004", "The name of the resource is not valid.";
    DestinationIsSource = "PR403-DV-0005", "The destination equals the source: [{0}].";
    NoSuchResource = "PR404-DV-0001", "The resource [{0}] does not exist.";
    NoSuchBox = "PR404-DV-0002", "The box [{0}] does not exist.";
    NoSuchCell = "PR404-DV-0003", "The cell does not exist.";
    CollectionExists = "PR405-DV-0001", "A collection cannot be made or changed here.";
    NoParent = "PR409-DV-0001", "The collection [{0}] does not exist.";
    SnapshotExists = "PR409-DV-0002", "The file [{0}] exists already.";
    DavTagMismatch = "PR412-DV-0001", "The entity tag does not match.";
    DestinationExists = "PR412-DV-0002", "The destination exists already.";
    RangeUnsatisfiable = "PR416-DV-0001", "No part of the requested range exists.";
    DavContent = "PR500-DV-0001", "The stored body and its description disagree.";
    DavMeta = "PR500-DV-0002", "The stored description is inconsistent.";
    DavVanished = "PR503-DV-0001", "The body vanished during the request. Try again.";
    ExportHeader = "PR400-BI-0001", "The header [{0}] is not valid.";
    BarTooLarge = "PR400-BI-0002", "The archive is larger than {0} megabytes.";
    BarEntryTooLarge = "PR400-BI-0003", "The entry [{0}] is larger than {1} megabytes.";
    BarSchemaUsed = "PR400-BI-0004", "Another box belongs to the application [{0}] already.";
    BarEntryFormat = "PR400-BI-0006", "The entry [{0}] cannot be read.";
    BarUnreadable = "PR400-BI-0007", "The archive cannot be read: {0}.";
    BarManifestField = "PR400-BI-0008", "The value of [{0}] in the manifest is not valid.";
    BarStructure = "PR400-BI-0009", "What an archive must hold is missing or not valid: {0}.";
    BarVersion = "PR400-BI-0010", "Archives of version [{0}] cannot be installed.";
    BarBoxExists = "PR405-BI-0001", "A box of the name [{0}] exists already.";
    NoHost = "PR400-CM-0005", "The request is for [{0}], but this unit is [{1}].";
    RequestJson = "PR400-CM-0004", "The body is not JSON.";
    RequestFieldRequired = "PR400-CM-0001", "[{0}] is required.";
    RequestFieldFormat = "PR400-CM-0002", "The value of [{0}] has a wrong format.";
    RequestFieldUnknown = "PR400-CM-0003", "[{0}] is not known.";
    NotAcceptable = "PR406-CM-0001", "The media type [{0}] is not offered.";
    CellImportFailed = "PR409-CM-0001", "The import of this cell has failed; only import, token and deletion work.";
    CellBusyWithJob = "PR409-CM-0002", "Nothing can be written while this runs: {0}.";
    PathBasedDisabled = "PR400-MC-0002", "Cells are addressed by host name on this unit.";
    NoSuchPath = "PR404-MC-0001", "Nothing has this URL.";
    MethodNotAllowed = "PR405-MC-0001", "The method is not allowed here.";
    RequestTimeout = "PR408-MC-0001", "The server took too long.";
    CellBusy = "PR409-MC-0001", "Other requests are working on this cell.";
    RecursiveHeader = "PR412-MC-0001", "The header [{0}] must be true.";
    BodyTooLarge = "PR413-MC-0001", "The body is larger than {0} bytes.";
    UnsupportedMedia = "PR415-MC-0001", "The media type is not supported here.";
    HeadersTooLarge = "PR431-MC-0001", "The request headers are too large.";
    NotImplementedMethod = "PR501-MC-0001", "The method is not implemented here.";
    NotImplementedFeature = "PR501-MC-0002", "The feature is not implemented: {0}.";
    EventJson = "PR400-EV-0001", "The event is not JSON.";
    RequestKey = "PR400-EV-0002", "The header X-Personium-RequestKey is not valid.";
    EventRequired = "PR400-EV-0003", "[{0}] is required.";
    EventFormat = "PR400-EV-0004", "The value of [{0}] has a wrong format.";
    CurrentLogDelete = "PR400-EV-0005", "The current log cannot be deleted.";
    MessageRelationMissing = "PR400-SM-0001", "The relation [{0}] does not exist.";
    MessageRelationEmpty = "PR400-SM-0002", "The relation [{0}] leads to no cell.";
    MessageTooMany = "PR400-SM-0003", "The message goes to more than {0} cells.";
    MessageBoxMissing = "PR400-SM-0004", "The cell has no box of the application [{0}].";
    MessageUndelivered = "PR500-SM-0001", "The cell [{0}] cannot be reached.";
    RequestedLinkExists = "PR400-RM-0001", "The cell is linked already.";
    MessageSchemaMissing = "PR400-RM-0002", "Box corresponding to the schema can not be found. Schema [{0}].";
    RequestedClassMissing = "PR400-RM-0003", "The cell has no box that the class [{0}] belongs to.";
    RequestedObjectMissing = "PR409-RM-0002", "The message asks for a change of [{0}], which does not exist.";
    PasswordFormat = "PR400-AU-0001", "The password does not meet the rules.";
    AuthParameter = "PR400-AU-0002", "A parameter is not valid.";
    CredentialMissing = "PR400-AU-0003", "The header X-Personium-Credential is missing.";
    AuthRequired = "PR401-AU-0001", "Authentication is required.";
    TokenExpired = "PR401-AU-0002", "The access token has expired.";
    AuthScheme = "PR401-AU-0003", "The authentication scheme is not supported.";
    BasicFormat = "PR401-AU-0004", "The Basic credentials cannot be read.";
    TokenParse = "PR401-AU-0006", "The access token cannot be read.";
    RefreshAsAccess = "PR401-AU-0007", "A refresh token is not an access token.";
    TokenSignature = "PR401-AU-0008", "The signature or certificate of the token is not acceptable.";
    CookieInvalid = "PR401-AU-0009", "The cookie does not authenticate this request.";
    AccountLocked = "PR401-AU-0010", "The account is locked.";
    BasicRefused = "PR401-AU-0011", "Authentication failed.";
    PasswordChangeOnly = "PR401-AU-0012", "This token allows nothing but a change of the password.";
    UnitUserRequired = "PR403-AU-0001", "Unit user access required.";
    PrivilegeLacking = "PR403-AU-0002", "The necessary privilege is lacking.";
    NotCellOwner = "PR403-AU-0003", "The cell belongs to another unit user.";
    SchemaAuthRequired = "PR403-AU-0004", "Authentication of the application is required.";
    SchemaMismatch = "PR403-AU-0005", "The application is not the one of this box.";
    SchemaLevelLow = "PR403-AU-0006", "The level of authentication of the application is too low.";
    ScopeLacking = "PR403-AU-0007", "The scope of the token lacks the privilege [{0}].";
    GrantType = "PR400-AN-0001", "The grant type is not supported.";
    TargetInvalid = "PR400-AN-0002", "p_target is not valid.";
    ClientAssertionParse = "PR400-AN-0003", "The client secret or assertion cannot be read.";
    ClientSecretExpired = "PR400-AN-0004", "The client secret has expired.";
    ClientSecretSignature = "PR400-AN-0005", "The signature of the client secret is not acceptable.";
    ClientIssuerMismatch = "PR400-AN-0006", "The client secret is not issued by the client.";
    ClientTargetMismatch = "PR400-AN-0007", "The client secret is not made for this cell.";
    OwnerRefused = "PR400-AN-0008", "This grant cannot represent the owner.";
    GrantTokenParse = "PR400-AN-0009", "The assertion or refresh token cannot be read.";
    GrantTokenExpired = "PR400-AN-0010", "The assertion, code or refresh token has expired.";
    GrantTokenSignature = "PR400-AN-0011", "The signature or certificate is not acceptable.";
    GrantTokenTarget = "PR400-AN-0012", "The assertion is made for another target.";
    NotRefreshToken = "PR400-AN-0013", "This is not a refresh token.";
    OwnerNotAllowed = "PR400-AN-0014", "The account may not represent the owner.";
    OwnerMissing = "PR400-AN-0015", "The cell has no owner.";
    GrantParameter = "PR400-AN-0016", "The parameter [{0}] is missing or out of range.";
    AuthnFailed = "PR400-AN-0017", "Authentication failed.";
    TokenAuthHeader = "PR400-AN-0018", "The Authorization header cannot be used here.";
    CodeParse = "PR400-AN-0019", "The code is missing or cannot be read.";
    ClientMismatch = "PR401-AN-0020", "The client is not the one that the token was issued to.";
    ClientAuthRequired = "PR401-AN-0021", "Authentication of the client is required.";
    ClientAssertionType = "PR400-AN-0022", "The client_assertion_type is not supported.";
    PasswordChangeRequired = "PR401-AN-0023", "The password must be changed first.";
    CodeVerifier = "PR400-AN-0024", "The code_verifier is missing or not the one of the code.";
    CodeRedirect = "PR400-AN-0025", "The redirect_uri is not the one of the code.";
    RootCertificate = "PR500-AN-0001", "The configured root certificates cannot be used.";
    PluginRefused = "PR400-PA-0001", "Authentication failed: {0}.";
    PluginFailed = "PR500-PA-0001", "The provider cannot be asked.";
    ResponseTypeUnsupported = "PR400-AZ-0001", "The response type is not supported.";
    ClientIdInvalid = "PR400-AZ-0002", "The client_id is not valid.";
    RedirectUriInvalid = "PR400-AZ-0003", "The redirect_uri is not valid.";
    ResponseTypeMissing = "PR400-AZ-0004", "The response_type is missing.";
    AuthzExpiresIn = "PR400-AZ-0008", "The expires_in is not valid.";
    CodeChallenge = "PR400-AZ-0009", "The code_challenge is missing or not valid.";
    AuthzCancelled = "PR401-AZ-0001", "The user cancelled.";
    RelayUnset = "PR412-UI-0001", "The property [{0}] is not set.";
    RelayMalformed = "PR412-UI-0002", "The property [{0}] is not a usable URL.";
    RelayInvalid = "PR412-UI-0003", "The property [{0}] is not valid.";
    RelayAnswer = "PR500-UI-0001", "The page could not be fetched: bad answer.";
    RelayConnect = "PR500-UI-0002", "The page could not be fetched: no connection.";
    RelayContentType = "PR500-NW-0002", "The page has an unexpected content type.";
    Unknown = "PR500-SV-9999", "The server failed unexpectedly.";
    StoreCorrupt = "PR500-SV-0000", "The store holds something that cannot be read.";
    StoreDown = "PR503-SV-0006", "The store cannot be reached.";
    SettingsUnusable = "PR409-SV-0001", "The settings cannot be used, so the former ones stay in force: {0}";
    Conflict = "PR503-SV-0001", "Too many concurrent requests changed the same data. Try again.";
    ServerBusy = "PR503-SV-0002", "The server is busy. Try again.";
    Maintenance = "PR503-SV-0004", "The unit is under maintenance.";
    ReadDeleteOnly = "PR503-SV-0005", "The unit accepts only reading and deleting at present.";
    BrokerDisabled = "PR403-ST-0001", "Streaming is disabled on this unit.";
    ServiceConnect = "PR500-SC-0001", "The script engine cannot be reached.";
}

#[cfg(test)]
mod tests {
    use super::Code;
    use std::collections::HashSet;

    #[test]
    fn wire_codes_are_unique_and_carry_a_status() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
            assert!((400..600).contains(&code.status()), "{}", code.as_str());
        }
    }
}
