// Types of what scripts of services can use. Put a reference to this file into a project, and editors complete the names:
//   /// <reference path="personium.d.ts" />
// Descriptions are in scripts-api.md. A test compares the names here with those of the library.

declare namespace personium {
  // The request and the response.
  interface ScriptRequest {
    readonly method: string;
    readonly scheme: string;
    readonly host: string;
    readonly port: string;
    readonly scriptName: string;
    readonly pathInfo: string;
    readonly queryString: string;
    readonly pathParameters: { [name: string]: string };
    readonly headers: { [name: string]: string };
    readonly input: RequestInput;
    readonly env: { requestUri: string };
    readonly jsgi: { version: number[]; [name: string]: any };
  }
  interface RequestInput {
    readAll(charset?: string): string;
    readLine(charset?: string): string | null;
    stream(): PersoniumInputStream;
  }
  interface PersoniumInputStream {}
  type BodyElement = string | PersoniumInputStream;
  interface ScriptResponse {
    status: number;
    headers: { [name: string]: string };
    body: { forEach(act: (element: BodyElement) => void): void };
  }

  // Arguments.
  type Key = string | { [name: string]: string | null };
  type Entity = { [name: string]: any };
  interface SchemaAuthentication {
    schemaUrl?: string;
    schemaUserId?: string;
    schemaPassword?: string;
  }
  type Identity =
    | 'client'
    | 'serviceSubject'
    | { accessToken: string }
    | ({ cellUrl: string; userId: string; password: string } & SchemaAuthentication)
    | ({ cellUrl: string; accessToken: string } & SchemaAuthentication)
    | { cellUrl: string; refreshToken: string };
  interface Tokens {
    access_token: string;
    expires_in: string;
    refresh_token: string;
    refresh_token_expires_in: string;
    token_type: string;
  }
  interface AccessControlList {
    base?: string;
    requireSchemaAuthz?: string;
    ace?: { role: Role | Principal | string; privilege: string[] }[];
  }
  interface FileArgument {
    path: string;
    contentType: string;
    data: string | PersoniumInputStream | ArrayBuffer | ArrayBufferView;
    charset?: string;
    etag?: string;
  }

  // The library.
  interface Library extends Classes {
    localbox(): Box;
    as(identity: Identity): Accessor;
    setPersoniumVersion(version: string | null): void;
    getServerVersion(): string | null;
    setThreadable(threadable: boolean): void;
    readonly extension: Extensions;
    readonly util: Utilities;
    readonly pjvm: Context;
    readonly dcjvm: Context;
    readonly PersoniumException: { new (text: string): PersoniumException; prototype: PersoniumException };
  }
  interface PersoniumException extends Error {
    code: number;
  }
  interface Utilities {
    queryParse(query: string, charset?: string): { [name: string]: string | string[] };
    decodeURI(text: string, charset: string): string;
    obj2javaJson<T>(value: T): T;
    escape4xss<T>(value: T): T;
  }
  interface Context {
    getBaseUrl(): string;
    getCurrentCellName(): string;
    getCellName(): string;
    getCurrentCellUrl(): string;
    getBoxName(): string;
    getBoxSchema(): string | null;
    getClientToken(): string;
    getServerVersion(): string | null;
    isPathBasedCellUrlEnabled(): boolean;
    setDefaultHeader(name: string, value: string | null): void;
    removeDefaultHeader(name: string): void;
    setPersoniumVersion(version: string): void;
    getPersoniumVersion(): string | null;
    decodeURI(text: string, charset?: string): string;
    newJSONObject(text: string): any;
  }

  // Identities.
  interface Accessor {
    cell(nameOrUrl?: string): Cell;
    unit(unitUrl?: string): UnitManager;
    asCellOwner(): OwnerAccessor;
    changePassword(newPassword: string): void;
  }
  interface OwnerAccessor extends Accessor {
    readonly unit: any;
  }

  // The unit and its cells.
  interface UnitManager {
    readonly ctl: UnitCtl;
    cell(nameOrUrl?: string): Cell;
    getToken(): Tokens;
  }
  interface UnitCtl {
    readonly cell: CellManager;
  }
  interface Cell {
    readonly name: string;
    readonly ctl: CellCtl;
    readonly event: EventManager;
    readonly currentLog: CurrentLogManager;
    readonly archiveLog: ArchiveLogManager;
    readonly acl: AclManager;
    box(nameOrSchema?: string): Box;
    installBox(name: string, streamOrUrl: PersoniumInputStream | string): Box;
    installBoxFromURL(name: string, url: string): Box;
    getUrl(): string;
    getName(): string;
    getToken(): Tokens;
    setOwnerRepresentativeAccounts(account: string): void;
  }
  interface CellCtl {
    readonly box: BoxManager;
    readonly account: AccountManager;
    readonly relation: RelationManager;
    readonly role: RoleManager;
    readonly extRole: ExtRoleManager;
    readonly extCell: ExtCellManager;
  }

  // Managers of control objects and of parts of a schema.
  interface OData {
    create(object: Entity): any;
    retrieve(key: Key): any;
    del(key: Key, etag?: string): void;
    query(): Query;
  }
  interface CellManager extends OData {
    create(object: Entity): Cell;
    retrieve(key: Key): Cell;
    update(name: string, object: Entity, etag?: string): void;
    recursiveDelete(name: string): void;
  }
  interface BoxManager extends OData {
    create(object: Entity): Box;
    retrieve(key: Key): Box;
    recursiveDelete(name: string): void;
  }
  interface AccountManager extends OData {
    create(object: Entity, password?: string): Account;
    retrieve(key: Key): Account;
    changePassword(name: string, password: string): void;
  }
  interface RoleManager extends OData {
    create(object: Entity): Role;
    retrieve(key: Key): Role;
  }
  interface RelationManager extends OData {
    create(object: Entity): Relation;
    retrieve(key: Key): Relation;
  }
  interface ExtRoleManager extends OData {
    create(object: Entity): ExtRole;
    retrieve(key: Key): ExtRole;
  }
  interface ExtCellManager extends OData {
    create(object: Entity): ExtCell;
    retrieve(key: Key): ExtCell;
  }
  interface EntityTypeManager extends OData {
    create(object: Entity): EntityType;
    retrieve(key: Key): EntityType;
  }
  interface AssociationEndManager extends OData {
    create(object: Entity): AssociationEnd;
    retrieve(key: Key): AssociationEnd;
  }
  interface ComplexTypeManager extends OData {
    create(object: Entity): ComplexType;
    retrieve(key: Key): ComplexType;
  }
  interface PropertyManager extends OData {
    create(object: Entity): Property;
    retrieve(key: Key): Property;
  }
  interface ComplexTypePropertyManager extends OData {
    create(object: Entity): ComplexTypeProperty;
    retrieve(key: Key): ComplexTypeProperty;
  }

  // Control objects and parts of a schema.
  interface Account {
    readonly name: string;
    readonly role: LinkManager;
    getName(): string;
  }
  interface Role {
    readonly name: string;
    readonly boxName: string;
    readonly id: string;
    readonly account: LinkManager;
    readonly relation: LinkManager;
    readonly extCell: LinkManager;
    readonly extRole: LinkManager;
    getName(): string;
  }
  interface Relation {
    readonly name: string;
    readonly boxName: string;
    readonly id: string;
    readonly role: LinkManager;
    readonly extCell: LinkManager;
    getName(): string;
  }
  interface ExtRole {
    readonly name: string;
    readonly relationName: string;
    readonly relationBoxName: string;
    readonly id: string;
    readonly role: LinkManager;
    getName(): string;
  }
  interface ExtCell {
    readonly id: string;
    readonly name: string;
    readonly url: string;
    readonly role: LinkManager;
    readonly relation: LinkManager;
    getName(): string;
  }
  interface EntityType {
    readonly name: string;
    getName(): string;
  }
  interface AssociationEnd {
    readonly name: string;
    readonly entityTypeName: string;
    readonly multiplicity: string;
    readonly associationEnd: LinkManager;
    getName(): string;
  }
  interface ComplexType {
    readonly name: string;
    getName(): string;
  }
  interface Property {
    readonly name: string;
    readonly entityTypeName: string;
    readonly type: string;
    readonly nullable: boolean;
    readonly defaultValue: any;
    readonly collectionKind: string;
    readonly isKey: boolean;
    readonly uniqueKey: string;
    getName(): string;
  }
  interface ComplexTypeProperty {
    readonly name: string;
    readonly complexTypeName: string;
    readonly type: string;
    readonly nullable: boolean;
    readonly defaultValue: any;
    readonly collectionKind: string;
    getName(): string;
  }
  interface LinkManager {
    link(object: any): void;
    unLink(object: any): void;
  }
  interface Query {
    filter(expression: string): Query;
    select(names: string): Query;
    top(count: number): Query;
    skip(count: number): Query;
    expand(names: string): Query;
    orderby(names: string): Query;
    inlinecount(mode: 'allpages' | 'none'): Query;
    q(words: string): Query;
    run(): any;
  }

  // Boxes, collections, files, access control lists.
  interface Webdav {
    mkCol(name: string): void;
    mkOData(name: string): void;
    mkService(name: string): void;
    getFileList(): string[];
    getColList(): string[];
    setProp(name: string, value: string): void;
    getProp(name: string): string;
    col(path: string): DavCollection;
    odata(path: string): ODataCollection;
    service(path: string): ServiceCollection;
    getPath(): string;
    makeUrlString(): string;
    getString(path: string, charset?: string): string;
    getStream(path: string): PersoniumInputStream;
    put(path: string, contentType: string, data: FileArgument['data'], etag?: string): void;
    put(file: FileArgument): void;
    del(path: string, etag?: string): void;
  }
  interface DavCollection extends Webdav {
    readonly name: string;
    readonly acl: AclManager;
  }
  interface Box extends Webdav {
    readonly name: string;
    readonly schema: string;
    readonly acl: AclManager;
    readonly ctl: BoxCtl;
    getMetaData(): string;
    getName(): string;
  }
  interface BoxCtl {
    readonly role: RoleManager;
  }
  interface AclManager {
    set(list: AccessControlList): void;
    get(): AccessControlList;
  }

  // OData collections.
  interface ODataCollection {
    readonly name: string;
    readonly schema: ODataCollectionCtl;
    entitySet(name: string): EntitySet;
  }
  interface ODataCollectionCtl {
    readonly entityType: EntityTypeManager;
    readonly associationEnd: AssociationEndManager;
    readonly complexType: ComplexTypeManager;
    readonly property: PropertyManager;
    readonly complexTypeProperty: ComplexTypePropertyManager;
  }
  interface EntitySet {
    create(entity: Entity): any;
    retrieve(id: string): any;
    update(id: string, entity: Entity, etag: string): void;
    merge(id: string, entity: Entity, etag: string): void;
    del(id: string, etag?: string): void;
    key(id: string): EntitySet;
    nav(name: string): EntitySet;
    query(): Query;
  }

  // Services, events, logs.
  interface ServiceCollection {
    readonly name: string;
    call(name: string, body: string | null, contentType: string | null): Response;
  }
  interface Response {
    getStatusCode(): number;
    getHeader(name: string): string;
    bodyAsString(charset?: string): string;
    bodyAsJson(): string;
    bodyAsStream(): PersoniumInputStream;
  }
  interface EventManager {
    post(event: Entity, requestKey?: string): Response;
  }
  interface CurrentLogManager {
    getString(file: string, requestKey?: string): LogResponse;
    getStream(file: string, requestKey?: string): LogResponse;
  }
  interface ArchiveLogManager {
    getString(file: string, requestKey?: string): LogResponse;
    getStream(file: string, requestKey?: string): LogResponse;
  }
  interface LogResponse {
    getStringBody(): string;
    getStreamBody(): PersoniumInputStream;
    getHeaders(): { [name: string]: string };
    getStatusCode(): number;
  }

  // Extensions.
  interface Extensions {
    readonly HttpClient: { new (options?: HttpClientOptions): HttpClient; prototype: HttpClient };
    readonly Slack: { new (): Slack; prototype: Slack };
    readonly SlackMessenger: { new (): Slack; prototype: Slack };
    readonly MailSender: { new (): MailSender; prototype: MailSender };
    readonly Ews: any;
    readonly AWSSecurityTokenService: { new (): AWSSecurityTokenService; prototype: AWSSecurityTokenService };
  }
  interface HttpClientOptions {
    IgnoreHostnameVerification?: boolean;
    DefaultHeaders?: { [name: string]: string };
  }
  interface HttpResult {
    status: string;
    headers: string;
    body?: any;
  }
  type HttpHeaders = { [name: string]: string } | null;
  type HttpBody = string | PersoniumInputStream;
  interface HttpClient {
    get(url: string, headers?: HttpHeaders, respondsAsStream?: boolean): HttpResult;
    delete(url: string, headers?: HttpHeaders, respondsAsStream?: boolean): HttpResult;
    post(url: string, headers: HttpHeaders, contentType: string, body: HttpBody, respondsAsStream?: boolean): HttpResult;
    put(url: string, headers: HttpHeaders, contentType: string, body: HttpBody, respondsAsStream?: boolean): HttpResult;
    patch(url: string, headers: HttpHeaders, contentType: string, body: HttpBody, respondsAsStream?: boolean): HttpResult;
    postParam(url: string, headers: HttpHeaders, contentType: string, body: HttpBody, respondsAsStream?: boolean): HttpResult;
    putParam(url: string, headers: HttpHeaders, contentType: string, body: HttpBody, respondsAsStream?: boolean): HttpResult;
  }
  interface Slack {
    setConfig(token: string | null, channel?: string | null, proxy?: { host: string; port: string | number; user?: string; password?: string } | null): void;
    sendMessage(text: string): void;
    sendMessageToChannel(text: string, channel: string): void;
    sendMessageToUser(text: string, user?: string): void;
  }
  interface AWSSecurityTokenService {
    AccessKeyId: string | null;
    SecretAccessKey: string | null;
    Region: string | null;
    ProxyHost: string | null;
    ProxyPort: string | number | null;
    ProxyUser: string | null;
    ProxyPassword: string | null;
    getSessionToken(seconds?: number): SessionToken;
    getSessionTokenWithDuration(seconds: number): SessionToken;
    getFederationToken(name: string, policy: object, seconds?: number): FederationToken;
    getFederationTokenWithDuration(name: string, policy: object, seconds: number): FederationToken;
  }
  interface SessionToken {
    Credentials: { AccessKeyId: string; SecretAccessKey: string; SessionToken: string; Expiration: number };
  }
  interface FederationToken extends SessionToken {
    FederatedUser: { Arn: string; FederatedUserId: string };
    PackedPolicySize: number;
  }
  interface MailAddress {
    address: string;
    name?: string;
  }
  interface Mail {
    to?: MailAddress[];
    cc?: MailAddress[];
    bcc?: MailAddress[];
    from: MailAddress;
    'reply-to': MailAddress[];
    subject: string;
    text: string;
    charset?: string;
    'envelope-from'?: string;
    headers?: { [name: string]: string };
  }
  interface MailSender {
    send(mail: Mail): void;
  }

  // The Java bridge.
  interface Principal {}

  // The classes, for scripts that replace methods. `core` of an object has the methods of the library.
  interface ClassOf<T> {
    new (core: any): T;
    prototype: T & { readonly core: T };
  }
  interface Classes {
    readonly Accessor: ClassOf<Accessor>;
    readonly OwnerAccessor: ClassOf<OwnerAccessor>;
    readonly UnitManager: ClassOf<UnitManager>;
    readonly UnitCtl: ClassOf<UnitCtl>;
    readonly Cell: ClassOf<Cell>;
    readonly CellCtl: ClassOf<CellCtl>;
    readonly OData: ClassOf<OData>;
    readonly CellManager: ClassOf<CellManager>;
    readonly BoxManager: ClassOf<BoxManager>;
    readonly AccountManager: ClassOf<AccountManager>;
    readonly RoleManager: ClassOf<RoleManager>;
    readonly RelationManager: ClassOf<RelationManager>;
    readonly ExtRoleManager: ClassOf<ExtRoleManager>;
    readonly ExtCellManager: ClassOf<ExtCellManager>;
    readonly EntityTypeManager: ClassOf<EntityTypeManager>;
    readonly AssociationEndManager: ClassOf<AssociationEndManager>;
    readonly ComplexTypeManager: ClassOf<ComplexTypeManager>;
    readonly PropertyManager: ClassOf<PropertyManager>;
    readonly ComplexTypePropertyManager: ClassOf<ComplexTypePropertyManager>;
    readonly Account: ClassOf<Account>;
    readonly Role: ClassOf<Role>;
    readonly Relation: ClassOf<Relation>;
    readonly ExtRole: ClassOf<ExtRole>;
    readonly ExtCell: ClassOf<ExtCell>;
    readonly EntityType: ClassOf<EntityType>;
    readonly AssociationEnd: ClassOf<AssociationEnd>;
    readonly ComplexType: ClassOf<ComplexType>;
    readonly Property: ClassOf<Property>;
    readonly ComplexTypeProperty: ClassOf<ComplexTypeProperty>;
    readonly LinkManager: ClassOf<LinkManager>;
    readonly Query: ClassOf<Query>;
    readonly Webdav: ClassOf<Webdav>;
    readonly DavCollection: ClassOf<DavCollection>;
    readonly Box: ClassOf<Box>;
    readonly BoxCtl: ClassOf<BoxCtl>;
    readonly AclManager: ClassOf<AclManager>;
    readonly ODataCollection: ClassOf<ODataCollection>;
    readonly ODataCollectionCtl: ClassOf<ODataCollectionCtl>;
    readonly EntitySet: ClassOf<EntitySet>;
    readonly ServiceCollection: ClassOf<ServiceCollection>;
    readonly Response: ClassOf<Response>;
    readonly EventManager: ClassOf<EventManager>;
    readonly CurrentLogManager: ClassOf<CurrentLogManager>;
    readonly ArchiveLogManager: ClassOf<ArchiveLogManager>;
    readonly LogResponse: ClassOf<LogResponse>;
  }
}

declare const _p: personium.Library;
declare const dc: personium.Library;
declare const pjvm: personium.Context;
declare const dcjvm: personium.Context;
declare const Packages: any;
declare const java: any;
declare const JavaAdapter: any;
declare function require(name: string): any;
declare class JSGIResponse implements personium.ScriptResponse {
  status: number;
  headers: { [name: string]: string };
  body: string[];
  setResponseData(data: any): void;
}
declare const console: {
  log(...values: any[]): void;
  info(...values: any[]): void;
  warn(...values: any[]): void;
  error(...values: any[]): void;
  debug(...values: any[]): void;
};
