// `_p`.
(function (host, need, js) {
  'use strict';
  const { text, split, indexOf, put, TypeErrorClass } = js;
  const base = need('base');
  const { settings, lazy } = base;

  const members = {
    localbox: () => need('cell').boxOfCell(need('access').as('client').cell()),
    as: (given) => need('access').as(given),
    setPersoniumVersion(version) {
      settings.version = version === undefined || version === null ? null : text(version);
    },
    getServerVersion: () => settings.serverVersion,
    setThreadable() {},
    extension: null,
    util: null,
    pjvm: null,
    dcjvm: null,
    PersoniumException: base.PersoniumException,
  };
  lazy(members, 'extension', () => need('extension').extension);
  lazy(members, 'util', () => need('p_util').util);
  lazy(members, 'pjvm', () => need('pjvm').pjvm);
  lazy(members, 'dcjvm', () => need('pjvm').pjvm);

  // The classes by their files. They are members too, which are made when they are used for the first time.
  const CLASSES = {
    __proto__: null,
    access: ' Accessor OwnerAccessor ',
    query: ' Query ',
    control: ' LinkManager Account Role Relation ExtRole ExtCell EntityType AssociationEnd ComplexType Property ComplexTypeProperty OData '
      + 'AccountManager RoleManager RelationManager ExtRoleManager ExtCellManager EntityTypeManager AssociationEndManager '
      + 'ComplexTypeManager PropertyManager ComplexTypePropertyManager BoxManager CellManager ',
    dav: ' Webdav DavCollection BoxCtl Box ',
    acl: ' AclManager ',
    odata: ' ODataCollectionCtl ODataCollection EntitySet ',
    service: ' Response ServiceCollection EventManager LogResponse CurrentLogManager ArchiveLogManager ',
    cell: ' CellCtl Cell UnitManager UnitCtl ',
  };
  const made = js.create(null);
  let allMade = false;
  const makeClass = (file, name) => {
    if (made[name] === true) return;
    need(file);
    put(members, name, base.classOf(name).Class, false);
    made[name] = true;
  };
  const makeNamed = (name) => {
    if (typeof name !== 'string' || indexOf(name, ' ') >= 0) return;
    for (const file in CLASSES) {
      if (indexOf(CLASSES[file], ' ' + name + ' ') >= 0) makeClass(file, name);
    }
  };
  const makeAll = () => {
    if (allMade) return;
    for (const file in CLASSES) {
      const names = split(js.trim(CLASSES[file]), ' ');
      for (let at = 0; at < names.length; at += 1) makeClass(file, names[at]);
    }
    allMade = true;
  };
  const get = (target, name, receiver) => {
    if (!allMade) makeNamed(name);
    return js.get(target, name, receiver);
  };
  // A proxy makes the class that is read. For every other operation all classes are made, and the operation is that of an ordinary
  // object: the handler of the proxy is asked for the trap of each operation, and has no other than `get`.
  const handler = new js.ProxyClass(js.create(null), {
    __proto__: null,
    get: (_, operation) => {
      if (operation === 'get') return get;
      makeAll();
      return undefined;
    },
  });
  const _p = new js.ProxyClass(members, handler);

  const JavaAdapter = function () {
    throw new TypeErrorClass('JavaAdapter is not available');
  };
  const globals = (name) => {
    if (name === 'Packages' || name === 'java') return need('java')[name];
    if (name === 'JavaAdapter') return JavaAdapter;
    return name === '_p' || name === 'dc' ? _p : need('pjvm').pjvm;
  };
  return { __proto__: null, globals };
})
