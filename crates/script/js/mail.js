// The extension that sends mails through the mail server of the unit.
(function (host, need, js) {
  'use strict';
  const { text, stringify, isArray, keys } = js;
  const { failure, stateOf, defineClass, make, classes } = need('base');
  const { fail, isObject } = need('extension');

  const ADDRESSES_MAX = 50;
  const mailAddress = (given) => {
    if (!isObject(given) || typeof given.address !== 'string' || given.address === '') fail('Invalid mail address is detected.');
    const name = given.name;
    if (name !== undefined && name !== null && typeof name !== 'string') fail('Invalid mail address is detected.');
    return { __proto__: null, address: given.address, name: name ? name : null };
  };
  // Lists without a prototype: `stringify` finds no `toJSON` of a script.
  const bareList = () => js.setPrototype([], null);
  const mailAddresses = (given) => {
    const out = bareList();
    if (given === undefined || given === null) return out;
    if (!isArray(given)) fail('Invalid JSON. The addresses are not an array.');
    if (given.length > ADDRESSES_MAX) fail('Number of recipients exceeds the limit(' + ADDRESSES_MAX + ').');
    for (let at = 0; at < given.length; at += 1) js.push(out, mailAddress(given[at]));
    return out;
  };
  const mailText = (given, name) => {
    if (given === undefined || given === null) return '';
    if (typeof given !== 'string') fail('Invalid JSON. ' + name + ' is not a string.');
    return given;
  };
  defineClass('MailSender', null, {
    send(given) {
      stateOf(this, 'mail');
      if (!isObject(given)) fail('Invalid argument for send method.');
      const mail = {
        __proto__: null, to: mailAddresses(given.to), cc: mailAddresses(given.cc), bcc: mailAddresses(given.bcc),
        replyTo: mailAddresses(given['reply-to']), from: given.from ? mailAddress(given.from) : null,
        subject: mailText(given.subject, 'subject'), text: mailText(given.text, 'text'),
        charset: mailText(given.charset, 'charset') || 'ISO-2022-JP',
        envelopeFrom: mailText(given['envelope-from'], 'envelope-from') || null, headers: bareList(),
      };
      const recipients = mail.to.length + mail.cc.length + mail.bcc.length;
      if (recipients === 0) fail('No mail recipients are specified in request.');
      if (recipients > ADDRESSES_MAX) fail('Number of recipients exceeds the limit(' + ADDRESSES_MAX + ').');
      if (mail.replyTo.length === 0) fail('At least one reply-to address is required.');
      if (mail.from === null) fail('From address is not specified.');
      if (mail.subject === '') fail('Empty subject is not permitted.');
      if (mail.text === '') fail('Empty mail body is not permitted.');
      const headers = given.headers;
      if (headers !== undefined && headers !== null) {
        if (!isObject(headers)) fail('Invalid JSON. headers is not an object.');
        const names = keys(headers);
        for (let at = 0; at < names.length; at += 1) {
          const value = headers[names[at]];
          if (value !== null && value !== undefined) js.push(mail.headers, js.setPrototype([names[at], text(value)], null));
        }
      }
      try {
        host.sendMail(stringify(mail));
      } catch (error) {
        if (error.code === 'argument' || error.code === 'charset') return fail(text(error.message));
        if (error.code === 'absent') throw failure(501, 'smtp host is not specified in configuration.');
        return fail('Failed to send message. Cause: [' + text(error.message) + ']');
      }
    },
  });
  const MailSender = function () {
    if (new.target === undefined) fail('MailSender is a constructor');
    return make('MailSender', { family: 'mail' });
  };
  MailSender.prototype = classes.MailSender.proto;

  return { __proto__: null, MailSender };
})
