// The library `_p` of scripts.
(function (host, shared) {
  'use strict';
  const _p = {};
  return { _p: _p, dc: _p };
})
