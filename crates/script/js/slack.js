// The extension that posts messages to Slack.
(function (host, need, js) {
  'use strict';
  const { text, stringify, parse } = js;
  const { stateOf, member, defineClass, make, classes } = need('base');
  const { fail, send } = need('extension');

  // As in the original, failures are only logged. The proxy is that of the unit, or of the property file. Without a token of the
  // script, the unit adds that of the property file, which scripts do not see.
  const SLACK_URL = 'https://slack.com/api/chat.postMessage';
  const known = host.context.slack || { __proto__: null, hasToken: false, channel: null, user: null };
  const postMessage = (messenger, message, channel) => {
    const state = stateOf(messenger, 'slack');
    if (state.token === null && !known.hasToken) {
      host.log('warn', 'Slack: no token is set');
      return;
    }
    const body = stringify({ __proto__: null, channel: channel === undefined || channel === null ? state.channel : text(channel), text: text(message) });
    const headers = { __proto__: null, 'content-type': 'application/json; charset=utf-8' };
    const options = { __proto__: null, headers: headers, body: body };
    if (state.token === null) options.token = 'slack';
    else headers.authorization = 'Bearer ' + state.token;
    try {
      const answer = send('POST', SLACK_URL, options);
      const accepted = answer.status === 200 && member(parse(answer.body), 'ok') === true;
      if (!accepted) host.log('warn', 'Slack: the message was refused with status ' + text(answer.status));
    } catch (error) {
      host.log('warn', 'Slack: ' + text(error.message));
    }
  };
  const CHANNEL = known.channel || 'general';
  defineClass('Slack', null, {
    setConfig(token, channel, proxy) {
      const state = stateOf(this, 'slack');
      if (token !== undefined && token !== null) state.token = text(token);
      state.channel = channel ? text(channel) : CHANNEL;
      if (proxy !== undefined && proxy !== null) host.log('warn', 'Slack: requests go through the proxy of the unit, if it has one');
    },
    sendMessage(message) {
      postMessage(this, message);
    },
    sendMessageToChannel(message, channel) {
      postMessage(this, message, channel);
    },
    sendMessageToUser(message, user) {
      const name = user === undefined || user === null ? known.user : text(user);
      if (name) postMessage(this, message, '@' + name);
      else host.log('warn', 'Slack: no user is named');
    },
  });
  const Slack = function () {
    if (new.target === undefined) fail('Slack is a constructor');
    return make('Slack', { family: 'slack', token: null, channel: CHANNEL });
  };
  Slack.prototype = classes.Slack.proto;

  return { __proto__: null, Slack };
})
