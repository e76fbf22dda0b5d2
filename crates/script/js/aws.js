// The extension that gets temporary credentials from the Security Token Service of AWS (API version 2011-06-15).
(function (host, need, js) {
  'use strict';
  const { text, number, stringify, matches, replace, encode, keys } = js;
  const { stateOf, member, defineClass, make, classes } = need('base');
  const { fail, isObject, send } = need('extension');

  const VERSION = '2011-06-15';
  const CONTENT_TYPE = 'application/x-www-form-urlencoded; charset=utf-8';
  const SETTINGS = ['AccessKeyId', 'SecretAccessKey', 'Region', 'ProxyHost', 'ProxyPort', 'ProxyUser', 'ProxyPassword'];
  // A property of the object, as the script has set it.
  const setting = (object, name) => {
    const value = member(object, name);
    return value === undefined || value === null ? '' : text(value);
  };
  const needed = (object, name) => setting(object, name) || fail(name + ' is not set.');
  // Host and region of the service.
  const placeOf = (object) => {
    const region = setting(object, 'Region');
    if (region === '') return { __proto__: null, host: 'sts.amazonaws.com', region: 'us-east-1' };
    if (!matches(/^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$/, region)) fail('Region is not valid.');
    const end = matches(/^cn-/, region) ? '.amazonaws.com.cn' : '.amazonaws.com';
    return { __proto__: null, host: 'sts.' + region + end, region: region };
  };
  // A form as the signature needs it: everything but unreserved characters is escaped.
  const escaped = (value) => replace(encode(value), /[!'()*]/g, (found) => '%' + js.upper(js.hex(found[0])));
  const formOf = (fields) => {
    const names = keys(fields);
    let out = '';
    for (let at = 0; at < names.length; at += 1) {
      const value = fields[names[at]];
      if (value !== null) out += (out === '' ? '' : '&') + names[at] + '=' + escaped(value);
    }
    return out;
  };
  const textIn = (element, name) => {
    const found = need('xml').all(element, name);
    return found.length === 0 ? '' : js.trim(found[0].text);
  };
  const request = (service, fields) => {
    stateOf(service, 'aws');
    const accessKey = needed(service, 'AccessKeyId');
    const secretKey = needed(service, 'SecretAccessKey');
    if (setting(service, 'ProxyHost') !== '') host.log('warn', 'AWSSecurityTokenService: requests go through the proxy of the unit, if it has one');
    const place = placeOf(service);
    const body = formOf(fields);
    const time = replace(js.isoTime(), /[-:]|\.[0-9]+/g, '');
    const authorization = host.signForAws({
      __proto__: null, accessKey: accessKey, secretKey: secretKey, region: place.region, service: 'sts', host: place.host, time: time,
      contentType: CONTENT_TYPE, body: body,
    });
    const headers = { __proto__: null, 'content-type': CONTENT_TYPE, 'x-amz-date': time, authorization: authorization, accept: 'text/xml' };
    const answer = send('POST', 'https://' + place.host + '/', { __proto__: null, headers: headers, body: body });
    const document = need('xml').parseXml(answer.body);
    if (answer.status !== 200) {
      const reason = textIn(document, 'Message') || 'The request was refused.';
      fail('AmazonServiceException: ' + reason + ' (Service: AWSSecurityTokenService; Status Code: ' + text(answer.status) + '; Error Code: '
        + textIn(document, 'Code') + '; Request ID: ' + textIn(document, 'RequestId') + ')');
    }
    return document;
  };
  const credentialsOf = (document) => {
    const credentials = {
      AccessKeyId: textIn(document, 'AccessKeyId'), SecretAccessKey: textIn(document, 'SecretAccessKey'),
      SessionToken: textIn(document, 'SessionToken'), Expiration: js.timeOf(textIn(document, 'Expiration')),
    };
    if (credentials.AccessKeyId === '') fail('AmazonClientException: the answer has no credentials.');
    return credentials;
  };
  const durationOf = (given) => {
    if (given === undefined || given === null) return null;
    const seconds = number(given);
    if (!matches(/^[0-9]{1,9}$/, text(seconds))) fail('durationSeconds is not a number of seconds.');
    return text(seconds);
  };
  const sessionToken = (service, duration) => {
    const fields = { __proto__: null, Action: 'GetSessionToken', DurationSeconds: durationOf(duration), Version: VERSION };
    return { Credentials: credentialsOf(request(service, fields)) };
  };
  const federationToken = (service, name, policy, duration) => {
    if (policy === undefined || policy === null) fail('policy cannot be null.');
    if (!isObject(policy)) fail('policy is not NativeObject.');
    const fields = {
      __proto__: null, Action: 'GetFederationToken', DurationSeconds: durationOf(duration), Name: text(name), Policy: stringify(policy),
      Version: VERSION,
    };
    const document = request(service, fields);
    return {
      Credentials: credentialsOf(document),
      FederatedUser: { Arn: textIn(document, 'Arn'), FederatedUserId: textIn(document, 'FederatedUserId') },
      PackedPolicySize: number(textIn(document, 'PackedPolicySize')),
    };
  };
  defineClass('AWSSecurityTokenService', null, {
    getSessionToken(duration) {
      return sessionToken(this, duration);
    },
    getSessionTokenWithDuration(duration) {
      return sessionToken(this, duration);
    },
    getFederationToken(name, policy, duration) {
      return federationToken(this, name, policy, duration);
    },
    getFederationTokenWithDuration(name, policy, duration) {
      return federationToken(this, name, policy, duration);
    },
  });
  const AWSSecurityTokenService = function () {
    if (new.target === undefined) fail('AWSSecurityTokenService is a constructor');
    const made = make('AWSSecurityTokenService', { family: 'aws' });
    for (let at = 0; at < SETTINGS.length; at += 1) js.put(made, SETTINGS[at], null, true);
    return made;
  };
  AWSSecurityTokenService.prototype = classes.AWSSecurityTokenService.proto;

  return { __proto__: null, AWSSecurityTokenService };
})
