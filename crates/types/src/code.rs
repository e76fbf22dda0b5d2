//! The table of error codes. A new kind of failure is a new row of this table.
//!
//! Codes and their statuses are part of the API and never change; the message texts may.

macro_rules! codes {
    ($($name:ident = $code:literal, $message:literal;)*) => {
        /// The code of an error, as clients see it.
        ///
        /// The text form is `PR{status}-{area}-{number}`, for instance `PR404-DV-0001`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $code, "`: ", $message)] $name,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as it is sent, for instance `PR404-DV-0001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// The message template; `{0}` and `{1}` are placeholders for the parameters of the error.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Code::$name => $message,)* }
            }
        }
    };
}

impl Code {
    /// The HTTP status, which is part of the code (`PR404-...` is 404).
    #[must_use]
    pub fn status(self) -> u16 {
        self.as_str()
            .get(2..5)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(500)
    }

    /// Whether the code reports a failure of the server (5xx) rather than a refused request (4xx).
    #[must_use]
    pub fn is_server_error(self) -> bool {
        self.status() >= 500
    }
}

codes! {
    JsonParse = "PR400-OD-0001", "The request body is not valid JSON.";
    FilterParse = "PR400-OD-0003", "The $filter expression cannot be parsed.";
    KeyParse = "PR400-OD-0004", "The key in the URL is malformed.";
    FormatUnknown = "PR400-OD-0005", "The $format [{0}] is not supported.";
    FieldFormat = "PR400-OD-0006", "The value of [{0}] has an invalid type or format.";
    FieldUnknown = "PR400-OD-0007", "The property [{0}] cannot be set.";
    NoSuchAssociation = "PR400-OD-0008", "The association does not exist.";
    FieldRequired = "PR400-OD-0009", "[{0}] is required.";
    KeyForNavigation = "PR400-OD-0010", "A target key is not allowed in this URL.";
    KeyForLinksMissing = "PR400-OD-0011", "The target key is missing in the URL.";
    FieldStructure = "PR400-OD-0012", "The property [{0}] does not accept this JSON value.";
    InlineCount = "PR400-OD-0013", "The $inlinecount [{0}] is neither allpages nor none.";
    OrderbyParse = "PR400-OD-0015", "The $orderby expression cannot be parsed.";
    KeyNull = "PR400-OD-0016", "The key must not be null.";
    SelectParse = "PR400-OD-0017", "The $select expression cannot be parsed.";
    BatchHeader = "PR400-OD-0021", "The header [{0}] of a part of the batch is missing or invalid.";
    BatchNested = "PR400-OD-0022", "A change set cannot contain a change set.";
    BatchBody = "PR400-OD-0023", "The body of the batch is malformed.";
    ParentMissing = "PR400-OD-0024", "The parent [{0}] does not exist.";
    ExpandUnknown = "PR400-OD-0025", "The $expand name [{0}] is not a navigation property.";
    ExpandParse = "PR400-OD-0026", "The $expand expression cannot be parsed.";
    LinkKeyParse = "PR400-OD-0028", "The target key in the URL is malformed.";
    QueryRange = "PR400-OD-0029", "The value of [{0}] is out of range: [{1}].";
    BatchTooMany = "PR400-OD-0030", "The batch contains too many requests: {0}.";
    EndsBothOne = "PR400-OD-0031", "Two association ends that both have multiplicity 1 cannot be linked.";
    PropertyLimit = "PR400-OD-0032", "The entity type has too many properties.";
    EntityTypeLimit = "PR400-OD-0033", "The schema has too many entity types.";
    BatchPath = "PR400-OD-0034", "The batch contains a request with an invalid path: {0}.";
    BatchMethod = "PR400-OD-0035", "The method [{0}] is not allowed in a batch.";
    QueryParse = "PR400-OD-0036", "The value of [{0}] is not an integer.";
    BatchTopSum = "PR400-OD-0037", "The sum of $top over all requests of the batch is too large.";
    LinkLimit = "PR400-OD-0038", "The entity has too many links.";
    ExpandTooMany = "PR400-OD-0039", "$expand names too many navigation properties.";
    OrderbyList = "PR400-OD-0040", "$orderby does not support list properties.";
    HeaderIllegal = "PR400-OD-0041", "The header [{0}] has an invalid value: [{1}].";
    SchemaChange = "PR400-OD-0042", "This change is not supported: {0}.";
    FilterOperator = "PR400-OD-0043", "The $filter expression uses an operator that is not supported.";
    FilterFunction = "PR400-OD-0044", "The $filter expression uses a function that is not supported.";
    FilterProperty = "PR400-OD-0045", "The $filter name [{0}] is not a property.";
    FilterType = "PR400-OD-0046", "The $filter literal that is compared with [{0}] has the wrong type.";
    FilterRange = "PR400-OD-0047", "The $filter literal that is compared with [{0}] is out of range.";
    FilterEscape = "PR400-OD-0048", "The $filter string literal [{0}] is malformed.";
    CellUrlFormat = "PR400-OD-0049", "The value of [{0}] is not a cell URL.";
    SchemaUriFormat = "PR400-OD-0050", "The value of [{0}] is not a schema URI.";
    QueryRefused = "PR400-OD-0051", "The query is too expensive.";
    CallbackName = "PR400-OD-0052", "The value of $callback is not the name of a JavaScript function.";
    RuleLimit = "PR400-OD-0053", "The cell has too many rules: at most {0} are possible.";
    LinkSourceMissing = "PR404-OD-0000", "The entity or link does not exist.";
    NoSuchSet = "PR404-OD-0001", "The entity set does not exist.";
    NoSuchEntity = "PR404-OD-0002", "The entity does not exist.";
    NoSuchNavigation = "PR404-OD-0003", "The navigation property does not exist.";
    NotAcceptableOdata = "PR406-OD-0001", "The media type [{0}] is not supported.";
    HasRelated = "PR409-OD-0001", "The object is still referenced by other objects.";
    LinkExists = "PR409-OD-0002", "The link already exists.";
    EntityExists = "PR409-OD-0003", "An entity with this key already exists.";
    UnlinkCollides = "PR409-OD-0004", "Removing the link would cause a conflict with [{0}].";
    LinkCollides = "PR409-OD-0005", "Adding the link would cause a conflict with [{0}].";
    TypesRelated = "PR409-OD-0006", "The entity types are already associated.";
    LoginsTooMany = "PR429-AU-0001", "Too many failed logins from this address. Try again in {0} seconds.";
    EntityTagMismatch = "PR412-OD-0002", "The entity tag does not match.";
    SchemaDuplicate = "PR500-OD-0001", "The property [{0}] is stored twice.";
    OdataInconsistent = "PR500-OD-0002", "The stored data is inconsistent.";
    DavXml = "PR400-DV-0001", "The request body is not valid XML.";
    DavXmlContent = "PR400-DV-0002", "The content of the XML request body is not valid.";
    Depth = "PR400-DV-0003", "The Depth [{0}] is not allowed.";
    AclRoleMissing = "PR400-DV-0004", "The role [{0}] does not exist.";
    AclBoxMissing = "PR400-DV-0005", "The box [{0}] of the role does not exist.";
    AclInvalid = "PR400-DV-0006", "The access control list is not valid: {0}.";
    TooManyChildren = "PR400-DV-0007", "The collection has too many members.";
    TooDeep = "PR400-DV-0008", "The collection is nested too deeply.";
    HeaderInvalid = "PR400-DV-0009", "The header [{0}] has an invalid value: [{1}].";
    HeaderMissing = "PR400-DV-0010", "The header [{0}] is missing.";
    MoveServiceSource = "PR400-DV-0011", "The source collection of a service cannot be moved.";
    MoveOntoCollection = "PR400-DV-0012", "A collection cannot be overwritten.";
    MoveIntoOdata = "PR400-DV-0013", "Resources cannot be moved into an OData collection.";
    MoveBelowFile = "PR400-DV-0014", "Resources cannot be moved below a file.";
    MoveBox = "PR400-DV-0015", "A box cannot be moved.";
    MoveIntoService = "PR400-DV-0016", "Resources cannot be moved directly into a service collection.";
    MoveOntoServiceSource = "PR400-DV-0017", "The source collection of a service cannot be overwritten.";
    MoveCollectionIntoServiceSource = "PR400-DV-0018", "A collection cannot be moved into the source collection of a service.";
    PropfindInfinity = "PR403-DV-0001", "PROPFIND with infinite depth is not supported.";
    CollectionNotEmpty = "PR403-DV-0003", "The collection is not empty.";
    ResourceName = "PR403-DV-0004", "The name of the resource is not valid.";
    DestinationIsSource = "PR403-DV-0005", "The destination is the source: [{0}].";
    NoSuchResource = "PR404-DV-0001", "The resource [{0}] does not exist.";
    NoSuchBox = "PR404-DV-0002", "The box [{0}] does not exist.";
    NoSuchCell = "PR404-DV-0003", "The cell does not exist.";
    CollectionExists = "PR405-DV-0001", "A collection cannot be created or changed at this URL.";
    NoParent = "PR409-DV-0001", "The parent collection [{0}] does not exist.";
    SnapshotExists = "PR409-DV-0002", "The file [{0}] already exists.";
    DavTagMismatch = "PR412-DV-0001", "The entity tag does not match.";
    DestinationExists = "PR412-DV-0002", "The destination already exists.";
    RangeUnsatisfiable = "PR416-DV-0001", "Range not satisfiable.";
    DavContent = "PR500-DV-0001", "The stored file content does not match its metadata.";
    DavMeta = "PR500-DV-0002", "The stored metadata is inconsistent.";
    DavVanished = "PR503-DV-0001", "The file content was removed during the request. Try again.";
    ExportHeader = "PR400-BI-0001", "The header [{0}] is not valid.";
    BarTooLarge = "PR400-BI-0002", "The archive is larger than {0} megabytes.";
    BarEntryTooLarge = "PR400-BI-0003", "The entry [{0}] is larger than {1} megabytes.";
    BarSchemaUsed = "PR400-BI-0004", "Another box already has the schema [{0}].";
    BarEntryFormat = "PR400-BI-0006", "The entry [{0}] cannot be read.";
    BarUnreadable = "PR400-BI-0007", "The archive cannot be read: {0}.";
    BarManifestField = "PR400-BI-0008", "The value of [{0}] in the manifest is not valid.";
    BarStructure = "PR400-BI-0009", "A required part of the archive is missing or not valid: {0}.";
    BarVersion = "PR400-BI-0010", "The archive version [{0}] is not supported.";
    BarBoxExists = "PR405-BI-0001", "A box with the name [{0}] already exists.";
    BarBoxIncomplete = "PR409-BI-0001", "The box [{0}] cannot be exported: its installation runs, or has failed.";
    BarBoxTooLarge = "PR409-BI-0002", "The box [{0}] cannot be exported: it has more than {1} files and entities, too many for an archive.";
    UnknownHost = "PR400-CM-0005", "The host [{0}] does not belong to this unit, which is [{1}].";
    RequestJson = "PR400-CM-0004", "The request body is not valid JSON.";
    RequestFieldRequired = "PR400-CM-0001", "[{0}] is required.";
    RequestFieldFormat = "PR400-CM-0002", "The value of [{0}] has an invalid format.";
    RequestFieldUnknown = "PR400-CM-0003", "The field [{0}] is unknown.";
    NotAcceptable = "PR406-CM-0001", "The media type [{0}] is not supported.";
    CellImportFailed = "PR409-CM-0001", "The import of this cell has failed. Only import, token requests and deletion are allowed.";
    CellBusyWithJob = "PR409-CM-0002", "The cell cannot be changed while a job runs: {0}.";
    CellTooLarge = "PR409-CM-0004", "The cell [{0}] has more than {1} boxes, collections and files: too many for a snapshot.";
    CellIsIssuer = "PR409-CM-0003", "The accounts of this cell administrate the unit, which would end with its name. Rename it with the command personium admin rename.";
    BodyIncomplete = "PR400-MC-0011", "The request body ended before it was complete.";
    SnapshotEntry = "PR400-MC-0001", "The snapshot lacks [{0}], or it is not valid.";
    SnapshotVersion = "PR400-MC-0003", "The version of the snapshot must be {0}, it is {1}.";
    SnapshotUnreadable = "PR400-MC-0004", "The snapshot cannot be read: {0}.";
    PathBasedDisabled = "PR400-MC-0002", "Cells of this unit are addressed by host name, not by path.";
    RequestTarget = "PR400-MC-0010", "The target of the request is not valid: {0}.";
    NoSuchPath = "PR404-MC-0001", "Not found.";
    MethodNotAllowed = "PR405-MC-0001", "Method not allowed.";
    RequestTimeout = "PR408-MC-0001", "The request timed out.";
    CellBusy = "PR409-MC-0001", "The cell is in use by other requests.";
    RecursiveHeader = "PR412-MC-0001", "The header [{0}] must be true.";
    BodyTooLarge = "PR413-MC-0001", "The request body is larger than {0} bytes.";
    UnsupportedMedia = "PR415-MC-0001", "The media type of the request body is not supported.";
    HeadersTooLarge = "PR431-MC-0001", "The request headers are too large.";
    NotImplementedMethod = "PR501-MC-0001", "The method is not implemented.";
    NotImplementedFeature = "PR501-MC-0002", "The feature is not implemented: {0}.";
    EventJson = "PR400-EV-0001", "The event is not valid JSON.";
    RequestKey = "PR400-EV-0002", "The header X-Personium-RequestKey is not valid.";
    EventRequired = "PR400-EV-0003", "[{0}] is required.";
    EventFormat = "PR400-EV-0004", "The value of [{0}] has an invalid format.";
    CurrentLogDelete = "PR400-EV-0005", "The current log cannot be deleted.";
    MessageRelationMissing = "PR400-SM-0001", "The relation [{0}] does not exist.";
    MessageRelationEmpty = "PR400-SM-0002", "The relation [{0}] has no external cells.";
    MessageTooMany = "PR400-SM-0003", "The message has more than {0} recipients.";
    MessageBoxMissing = "PR400-SM-0004", "The cell has no box with the schema [{0}].";
    MessageUndelivered = "PR500-SM-0001", "The message could not be delivered to the cell [{0}].";
    RequestedLinkExists = "PR400-RM-0001", "The cell is already linked.";
    MessageSchemaMissing = "PR400-RM-0002", "Box corresponding to the schema can not be found. Schema [{0}].";
    RequestedClassMissing = "PR400-RM-0003", "The cell has no box that matches the class URL [{0}].";
    RequestedObjectMissing = "PR409-RM-0002", "The message requests a change of [{0}], which does not exist.";
    MessageIdTaken = "PR409-RM-0006", "Another cell has sent a message with the id of this one.";
    PasswordFormat = "PR400-AU-0001", "The password does not meet the password rules.";
    AuthParameter = "PR400-AU-0002", "A parameter is not valid.";
    CredentialMissing = "PR400-AU-0003", "The header X-Personium-Credential is missing.";
    AuthRequired = "PR401-AU-0001", "Authentication is required.";
    TokenExpired = "PR401-AU-0002", "The access token has expired.";
    AuthScheme = "PR401-AU-0003", "The authentication scheme is not supported.";
    BasicFormat = "PR401-AU-0004", "The Basic credentials cannot be parsed.";
    TokenParse = "PR401-AU-0006", "The access token cannot be parsed.";
    RefreshAsAccess = "PR401-AU-0007", "A refresh token cannot be used as an access token.";
    TokenSignature = "PR401-AU-0008", "The signature or certificate of the token is not valid.";
    CookieInvalid = "PR401-AU-0009", "The authentication cookie is not valid for this request.";
    AccountLocked = "PR401-AU-0010", "The account is locked.";
    BasicRefused = "PR401-AU-0011", "Authentication failed.";
    PasswordChangeOnly = "PR401-AU-0012", "This token is valid only for a change of the password.";
    UnitUserRequired = "PR403-AU-0001", "Unit user access required.";
    PrivilegeLacking = "PR403-AU-0002", "Insufficient privileges.";
    NotCellOwner = "PR403-AU-0003", "The cell belongs to another unit user.";
    SchemaAuthRequired = "PR403-AU-0004", "Application authentication is required.";
    SchemaMismatch = "PR403-AU-0005", "The authenticated application does not match the schema of this box.";
    SchemaLevelLow = "PR403-AU-0006", "The application must be authenticated as a {0} client.";
    ScopeLacking = "PR403-AU-0007", "The scope of the token does not include the privilege [{0}].";
    IssuerName = "PR403-AU-0008", "Only an administrator of the unit may give a cell the name [{0}]: the accounts of that cell are unit users.";
    GrantType = "PR400-AN-0001", "The grant type is not supported.";
    TargetInvalid = "PR400-AN-0002", "p_target is not valid.";
    ClientAssertionParse = "PR400-AN-0003", "The client secret or assertion cannot be parsed.";
    ClientSecretExpired = "PR400-AN-0004", "The client secret has expired.";
    ClientSecretSignature = "PR400-AN-0005", "The signature of the client secret is not valid.";
    ClientIssuerMismatch = "PR400-AN-0006", "The client secret was not issued by the client.";
    ClientTargetMismatch = "PR400-AN-0007", "The client secret was not issued for this cell.";
    OwnerRefused = "PR400-AN-0008", "The p_owner parameter is not allowed for this grant.";
    GrantTokenParse = "PR400-AN-0009", "The assertion or refresh token cannot be parsed.";
    GrantTokenExpired = "PR400-AN-0010", "The assertion, code or refresh token has expired.";
    GrantTokenSignature = "PR400-AN-0011", "The signature or certificate of the assertion or refresh token is not valid.";
    GrantTokenTarget = "PR400-AN-0012", "The assertion was issued for another target.";
    NotRefreshToken = "PR400-AN-0013", "The token is not a refresh token.";
    OwnerNotAllowed = "PR400-AN-0014", "The account is not allowed to represent the cell owner.";
    OwnerMissing = "PR400-AN-0015", "The cell has no owner.";
    GrantParameter = "PR400-AN-0016", "The parameter [{0}] is missing or out of range.";
    AuthnFailed = "PR400-AN-0017", "Authentication failed.";
    TokenAuthHeader = "PR400-AN-0018", "The Authorization header is not allowed in this request.";
    CodeParse = "PR400-AN-0019", "The code is missing or cannot be parsed.";
    ClientMismatch = "PR401-AN-0020", "The client does not match the client that the token was issued to.";
    ClientAuthRequired = "PR401-AN-0021", "Client authentication is required.";
    ClientAssertionType = "PR400-AN-0022", "The client_assertion_type is not supported.";
    PasswordChangeRequired = "PR401-AN-0023", "The password must be changed first.";
    CodeVerifier = "PR400-AN-0024", "The code_verifier is missing or does not match the code.";
    CodeRedirect = "PR400-AN-0025", "The redirect_uri does not match the code.";
    RootCertificate = "PR500-AN-0001", "The configured root certificates are not valid.";
    PluginRefused = "PR400-PA-0001", "Authentication failed: {0}.";
    PluginDenied = "PR401-PA-0001", "Authentication failed: {0}.";
    PluginFailed = "PR500-PA-0001", "The authentication provider could not be reached.";
    PluginUnavailable = "PR503-PA-0001", "The authentication plugin is not available, try again later.";
    PluginBroken = "PR500-PL-0001", "The authentication plugin failed.";
    ExtensionBroken = "PR500-PL-0002", "The extension [{0}] failed.";
    ExtensionUnavailable = "PR503-PL-0001", "The extension [{0}] is not available, try again later.";
    ResponseTypeUnsupported = "PR400-AZ-0001", "The response_type is not supported.";
    ClientIdInvalid = "PR400-AZ-0002", "The client_id is not valid.";
    RedirectUriInvalid = "PR400-AZ-0003", "The redirect_uri is not valid.";
    ResponseTypeMissing = "PR400-AZ-0004", "The response_type is missing.";
    AuthzExpiresIn = "PR400-AZ-0008", "The expires_in is not valid.";
    CodeChallenge = "PR400-AZ-0009", "The code_challenge is missing or not valid.";
    PromptInvalid = "PR400-AZ-0010", "The prompt none cannot be combined with others.";
    AuthzCancelled = "PR401-AZ-0001", "The user cancelled the authorization.";
    LoginRequired = "PR401-AZ-0003", "The user must log in.";
    InteractionRequired = "PR401-AZ-0004", "The user must fill in a form.";
    PageUrlUnset = "PR412-UI-0001", "The property [{0}] is not set.";
    PageUrlMalformed = "PR412-UI-0002", "The property [{0}] is not a valid URL.";
    PageUrlInvalid = "PR412-UI-0003", "The property [{0}] is not valid.";
    PageResponse = "PR500-UI-0001", "The page could not be fetched: invalid response.";
    PageConnect = "PR500-UI-0002", "The page could not be fetched: connection failed.";
    PageContentType = "PR500-NW-0002", "The page has an unexpected content type.";
    Unknown = "PR500-SV-9999", "Internal server error.";
    StoreCorrupt = "PR500-SV-0000", "The store contains data that cannot be read.";
    StoreDown = "PR503-SV-0006", "The store is not available.";
    SettingsUnusable = "PR409-SV-0001", "The settings are not valid, the previous settings remain in effect: {0}";
    CertificateNotObtained = "PR502-SV-0002", "The certificate of the TLS port was not obtained: {0}.";
    Conflict = "PR503-SV-0001", "Too many concurrent requests changed the same data. Try again.";
    ServerBusy = "PR503-SV-0002", "The server is busy. Try again.";
    StorageReadOnly = "PR503-SV-0007", "The storage of the unit is read-only.";
    StorageFull = "PR507-SV-0001", "The storage of the unit is full. Only reading and deleting are possible.";
    OverQuota = "PR507-SV-0002", "{0} is used up. Reading, deleting and changes that take no more storage are possible.";
    RecordTooLarge = "PR413-SV-0001", "The data cannot be stored: {0}.";
    NodeStopping = "PR502-SV-0001", "This node of the unit is stopping and has done nothing.";
    Maintenance = "PR503-SV-0004", "The unit is under maintenance.";
    ReadDeleteOnly = "PR503-SV-0005", "The unit accepts only read and delete requests at present.";
    WebLayerVersion = "PR412-WL-0001", "No node of this version of the API runs here.";
    WebLayerBodySize = "PR413-WL-0001", "The request body is larger than the web layer permits.";
    WebLayerRate = "PR429-WL-0001", "Too many requests from this address. Try again in a second.";
    NodeUnreachable = "PR502-WL-0001", "No node of the unit can be reached, or it broke off.";
    WebLayerBusy = "PR503-WL-0001", "The web layer is busy. Try again.";
    NodeTimeout = "PR504-WL-0001", "The unit did not answer in time.";
    BrokerDisabled = "PR403-ST-0001", "Streaming is disabled on this unit.";
    MessageText = "PR400-ST-0001", "The message is not a text in UTF-8.";
    NoSuchDelivery = "PR404-ST-0001", "There is no delivery with this receipt: the message was acknowledged, has expired, or was delivered again.";
    MessagesMissed = "PR410-ST-0001", "The messages after this position are not kept any more.";
    BrokerDown = "PR503-ST-0002", "The message broker cannot be reached, or has refused the request.";
    QueueFull = "PR503-ST-0001", "The queue or topic [{0}] is full. Try again when messages were received.";
    ServiceConnect = "PR500-SC-0001", "The script engine could not be reached.";
    JobFailed = "PR500-SC-0002", "The script failed: {0}.";
    JobInterrupted = "PR500-SC-0003", "The unit stopped while the script ran.";
    JobResponseTooLarge = "PR500-SC-0004", "The response of the script has more than {0} bytes.";
    JobRefused = "PR500-SC-0005", "The script did not run, because the request was answered with {0}.";
    JobTimeout = "PR503-SC-0001", "The script took too long.";
    JobsTooMany = "PR429-SC-0001", "{0} jobs of this cell wait or run already. Try again.";
}

#[cfg(test)]
mod tests {
    use super::Code;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_contain_an_error_status() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "duplicate {}", code.as_str());
            assert!((400..600).contains(&code.status()), "{}", code.as_str());
        }
    }

    #[test]
    fn is_server_error_is_true_for_5xx_only() {
        assert!(Code::Unknown.is_server_error());
        assert!(Code::Conflict.is_server_error());
        assert!(!Code::NoSuchPath.is_server_error());
        assert!(!Code::LoginsTooMany.is_server_error());
    }

    #[test]
    fn placeholders_are_numbered_from_zero_without_gaps() {
        for code in Code::ALL {
            let message = code.message();
            let count = (0..10)
                .take_while(|i| message.contains(&format!("{{{i}}}")))
                .count();
            assert_eq!(message.matches('{').count(), count, "{message}");
            assert_eq!(message.matches('}').count(), count, "{message}");
        }
    }
}
